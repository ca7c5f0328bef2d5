-- The world of a script: Lua 5.1's libraries without a way out, `redis`, and tables that cannot be changed.
--
-- Lua 5.1 has no read-only tables. What a script sees of a library (and of the globals) is an empty table in front of the real
-- one: reads fall through, writes arrive at `refuse`. Functions that go past metatables look behind it here.
--
-- Called once, with the functions of the host; returns the globals, the function that runs a script or function, and where there are
-- functions those that load and forget them.

local host, getinfo = ...
local error, type, tostring, select, unpack = error, type, tostring, select, unpack
local real_pcall, real_xpcall, real_pairs, real_next = pcall, xpcall, pairs, next
local real_setmetatable, real_getmetatable, real_rawset, real_rawget = setmetatable, getmetatable, rawset, rawget
local real_loadstring, real_resume, real_collectgarbage = loadstring, coroutine.resume, collectgarbage
local setfenv, ipairs, concat, byte, floor = setfenv, ipairs, table.concat, string.byte, math.floor
local find, lower = string.find, string.lower

local READONLY = "Attempt to modify a readonly table"
-- The name of the text that scripts, or functions, are compiled from.
local SOURCE = host.source

-- What lies behind each empty table.
local behind = {}

local function refuse() error(READONLY, 2) end

local function readonly(real)
    local front, locked = {}, {}
    behind[front] = real
    behind[locked] = {}
    real_setmetatable(locked, { __newindex = refuse, __metatable = locked })
    local metatable = { __index = real, __newindex = refuse, __metatable = locked }
    return real_setmetatable(front, metatable), metatable
end

-- A script whose time is over cannot catch the error that ends it.
local function raise_if_ended()
    if host.ended() then error({ err = host.ended_text }, 0) end
end

-- As in Redis, an error table becomes its text where a script catches it.
local function caught(ok, ...)
    if ok then return true, ... end
    raise_if_ended()
    local problem = ...
    if type(problem) == "table" and type(real_rawget(problem, "err")) == "string" then problem = problem.err end
    return false, problem
end

local globals = {
    _VERSION = _VERSION,
    assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, rawequal = rawequal, select = select,
    tonumber = tonumber, tostring = tostring, type = type, unpack = unpack, gcinfo = gcinfo,
}
local G, environment = readonly(globals)
globals._G = G
local unknown = { __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end }
real_setmetatable(globals, unknown)

function globals.pcall(f, ...) return caught(real_pcall(f, ...)) end

function globals.xpcall(f, handler) return caught(real_xpcall(f, handler)) end

function globals.rawget(t, key) return real_rawget(behind[t] or t, key) end

function globals.rawset(t, key, value)
    if behind[t] then error(READONLY, 0) end
    return real_rawset(t, key, value)
end

function globals.setmetatable(t, metatable)
    if behind[t] then error(READONLY, 0) end
    return real_setmetatable(t, metatable)
end

local function table_wanted(name, got)
    error("bad argument #1 to '" .. name .. "' (table expected, got " .. (got == nil and "nil" or type(got)) .. ")", 4)
end

function globals.next(t, key)
    if type(t) ~= "table" then table_wanted("next", t) end
    return real_next(behind[t] or t, key)
end

function globals.pairs(t)
    if type(t) ~= "table" then table_wanted("pairs", t) end
    return real_next, behind[t] or t, nil
end

-- Only text: what the compiler has made of it can be forged to break the interpreter.
function globals.loadstring(text, name)
    if type(text) == "string" and byte(text, 1) == 27 then return nil, "bytecode is not loaded" end
    local chunk, problem = real_loadstring(text, name)
    if chunk then setfenv(chunk, G) end
    return chunk, problem
end

function globals.load(pieces, name)
    local texts = {}
    while true do
        local piece = pieces()
        if piece == nil or piece == "" then break end
        texts[#texts + 1] = piece
    end
    return globals.loadstring(concat(texts), name or "=(load)")
end

-- The collector cannot be switched off for those who come after.
function globals.collectgarbage(what, argument)
    if what == nil or what == "collect" or what == "count" or what == "step" then
        return real_collectgarbage(what or "collect", argument)
    end
    return 0
end

for _, name in real_pairs({ "next", "pairs", "rawget", "rawset", "setmetatable" }) do
    globals[name] = host.behind_c(globals[name])
end

local function library(name, functions)
    globals[name] = readonly(functions)
end

local coroutines = {}
for name, f in real_pairs(coroutine) do coroutines[name] = f end
function coroutines.resume(...) return caught(real_resume(...)) end
library("coroutine", coroutines)
library("string", string)
library("table", table)
for name, functions in real_pairs(host.libraries) do library(name, functions) end
library("os", { clock = os.clock })

-- A generator of our own, so that the same numbers are drawn on every machine.
math.randomseed = host.randomseed
function math.random(low, high)
    local fraction = host.random()
    if low == nil then return fraction end
    if high == nil then low, high = 1, low end
    if low > high then error("bad argument #1 to 'random' (interval is empty)", 3) end
    return floor(fraction * (high - low + 1)) + low
end
math.random = host.behind_c(math.random)
library("math", math)

local text_metatable = real_getmetatable("")
text_metatable.__metatable = readonly({ __index = globals.string })

---------------------------------------------------------------------------------------------------------------------------

local redis = {
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
    REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}

local current_call, current_log, current_permits

local NO_ARGUMENT = "ERR Please specify at least one argument for this redis lib call"

local function outcome(ok, ...)
    if ok then return ... end
    error({ err = ..., ignore_error_stats_update = true }, 0)
end

function redis.call(...)
    if select("#", ...) == 0 then error({ err = NO_ARGUMENT }, 0) end
    return outcome(current_call(select("#", ...), { ... }))
end

function redis.pcall(...)
    if select("#", ...) == 0 then return { err = NO_ARGUMENT } end
    local ok, value = current_call(select("#", ...), { ... })
    if ok then return value end
    return { err = value, ignore_error_stats_update = true }
end

local function single_string(...)
    return select("#", ...) == 1 and type((...)) == "string"
end

function redis.error_reply(...)
    if not single_string(...) then return { err = "ERR wrong number or type of arguments" } end
    local text = ...
    if byte(text, 1) == 45 then return { err = text:sub(2) } end
    if not text:find(" ", 1, true) then text = "ERR " .. text end
    return { err = text }
end

function redis.status_reply(...)
    if not single_string(...) then return { err = "ERR wrong number or type of arguments" } end
    return { ok = (...) }
end

function redis.sha1hex(...)
    if select("#", ...) ~= 1 then error("wrong number of arguments", 0) end
    local text = ...
    if type(text) == "number" then text = tostring(text) elseif type(text) ~= "string" then text = "" end
    return host.sha1hex(text)
end

function redis.log(...)
    if select("#", ...) < 2 then error("redis.log() requires two arguments or more.", 0) end
    local level = ...
    if type(level) ~= "number" then error("First argument must be a number (log level).", 0) end
    if level < 0 or level > 3 then error("Invalid log level.", 0) end
    local words = {}
    for index = 2, select("#", ...) do
        local word = (select(index, ...))
        if type(word) == "string" or type(word) == "number" then words[#words + 1] = tostring(word) end
    end
    current_log(floor(level), concat(words, " "))
end

function redis.setresp(...)
    if select("#", ...) ~= 1 then error("redis.setresp() requires one argument.", 0) end
    local version = tonumber((...))
    if version ~= 2 and version ~= 3 then error("RESP version must be 2 or 3.", 0) end
    host.setresp(version)
end

function redis.set_repl(...)
    if select("#", ...) ~= 1 then error("redis.set_repl() requires one argument.", 0) end
    local flags = tonumber((...))
    if not flags or flags < 0 or flags > 3 then
        error("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.", 0)
    end
end

function redis.acl_check_cmd(...)
    if select("#", ...) == 0 then error({ err = NO_ARGUMENT }, 0) end
    local permitted = current_permits(...)
    if type(permitted) == "string" then error({ err = permitted }, 0) end
    if permitted == nil then error("Invalid command passed to redis.acl_check_cmd()", 0) end
    return permitted
end

-- What replicas get has always been the effects; there is no debugger to break into.
function redis.replicate_commands() return true end
function redis.breakpoint() return false end
function redis.debug() end

if host.has_functions then
    redis.replicate_commands, redis.breakpoint, redis.debug = nil, nil, nil
end

for name, f in real_pairs(redis) do
    if type(f) == "function" then redis[name] = host.behind_c(f) end
end
library("redis", redis)

---------------------------------------------------------------------------------------------------------------------------

-- What went wrong, and in which line of the script.
local function handler(problem)
    local line
    for level = 2, 100 do
        local info = getinfo(level, "Sl")
        if not info then break end
        if info.source == SOURCE and info.currentline > 0 then
            line = info.currentline
            break
        end
    end
    local kind, text = type(problem), nil
    local counted = false
    if host.ended() then
        text = host.ended_text
    elseif kind == "table" then
        text, counted = problem.err, problem.ignore_error_stats_update
        if type(text) ~= "string" then text = "ERR unknown error" end
    else
        text = "ERR " .. tostring(problem)
    end
    return { text, line, counted and true or false }
end

-- `table.insert` and its kin do write into the empty tables in front.
local function tidy()
    for front in real_pairs(behind) do
        if real_next(front) ~= nil then
            for key in real_pairs(front) do front[key] = nil end
        end
    end
end

-- Either what was returned, or text, line, and whether the error was counted.
local function concluded(ok, value)
    tidy()
    if ok then return true, value end
    if type(value) == "table" then return false, value[1], value[2], value[3] end
    -- There was no memory, or no stack, for the handler.
    return false, "ERR " .. tostring(value)
end

-- What is compiled, by numbers.
local chunks = host.chunks

local function run_script(chunk, keys, argv, call, log, permits)
    globals.KEYS, globals.ARGV = keys, argv
    current_call, current_log, current_permits = call, log, permits
    local ok, value = real_xpcall(chunks[chunk], handler)
    globals.KEYS, globals.ARGV = nil, nil
    current_call, current_log, current_permits = nil, nil, nil
    return concluded(ok, value)
end

if not host.has_functions then return G, run_script end

---------------------------------------------------------------------------------------------------------------------------
-- Functions. While a library is loaded it sees nothing but `redis`, and of it nothing that acts.

local function run_function(chunk, keys, argv, call, log, permits)
    current_call, current_log, current_permits = call, log, permits
    local f = chunks[chunk]
    local ok, value = real_xpcall(function() return f(keys, argv) end, handler)
    current_call, current_log, current_permits = nil, nil, nil
    return concluded(ok, value)
end

local function fail(text) error({ err = "ERR " .. text }, 0) end

local is_text = { string = true, number = true }

-- What `register_function` may be told by name: its kind, and what is said of another.
local FIELDS = {
    function_name = { is_text, "function_name argument given to redis.register_function must be a string" },
    description = { is_text, "description argument given to redis.register_function must be a string" },
    callback = { { ["function"] = true }, "callback argument given to redis.register_function must be a function" },
    flags = { { table = true }, "flags argument to redis.register_function must be a table representing function flags" },
}

-- The functions that the library in loading has registered, in order, and by their names in lower case.
local registered, registered_names

local function register(name, callback, description, flags)
    name = tostring(name)
    if not find(name, "^[%w_]+$") then
        fail("Library names can only contain letters, numbers, or underscores(_) and must be at least one character long")
    end
    if registered_names[lower(name)] then fail("Function already exists in the library") end
    registered_names[lower(name)] = true
    local words = {}
    for _, flag in ipairs(flags or {}) do
        if type(flag) ~= "string" or not host.is_flag(flag) then fail("unknown flag given") end
        words[#words + 1] = flag
    end
    registered[#registered + 1] = { name, description and tostring(description), concat(words, ","), callback }
end

local function register_named(given)
    local named = {}
    for name, value in real_next, given do
        local field = type(name) == "string" and FIELDS[name]
        if not field then fail("unknown argument given to redis.register_function") end
        if not field[1][type(value)] then fail(field[2]) end
        named[name] = value
    end
    if not named.function_name then fail("redis.register_function must get a function name argument") end
    if not named.callback then fail("redis.register_function must get a callback argument") end
    register(named.function_name, named.callback, named.description, named.flags)
end

local loading_redis = {}
for _, name in ipairs({ "log", "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING", "REDIS_VERSION", "REDIS_VERSION_NUM" }) do
    loading_redis[name] = redis[name]
end

loading_redis.register_function = host.behind_c(function(...)
    local count, first, second = select("#", ...), ...
    if count < 1 or count > 2 then fail("wrong number of arguments to redis.register_function") end
    if count == 1 then
        if type(first) ~= "table" then
            fail("calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).")
        end
        return register_named(first)
    end
    if not is_text[type(first)] then fail("first argument to redis.register_function must be a string") end
    if type(second) ~= "function" then fail("second argument to redis.register_function must be a function") end
    register(first, second)
end)

local loading_globals = real_setmetatable({ redis = readonly(real_setmetatable(loading_redis, unknown)) }, unknown)

-- `environment` is the metatable of what all functions see as globals.
local function load_library(chunk, log)
    registered, registered_names = {}, {}
    environment.__index, current_log = loading_globals, log
    local ok, value = real_xpcall(chunk, handler)
    environment.__index, current_log = globals, nil
    local list = registered
    registered, registered_names = nil, nil
    tidy()
    if ok then return true, list end
    return false, type(value) == "table" and value[1] or "ERR " .. tostring(value)
end

return G, run_function, load_library
