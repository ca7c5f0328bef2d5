-- The world of a script: Lua 5.1's libraries without a way out, `redis`, and tables that cannot be changed.
--
-- Lua 5.1 has no read-only tables. What a script sees of a library (and of the globals) is an empty table in front of the real
-- one: reads fall through, writes arrive at `refuse`. Functions that go past metatables look behind it here.
--
-- Called once, with the functions of the host; returns what scripts see as their globals, what lies behind that, what is called with an
-- error of a script, and where there are functions the one that loads them.

local host, getinfo = ...
local error, type, tostring, tonumber, select, ipairs = error, type, tostring, tonumber, select, ipairs
local real_pcall, real_xpcall, real_pairs, real_next = pcall, xpcall, pairs, next
local real_setmetatable, real_getmetatable, real_rawget = setmetatable, getmetatable, rawget
local real_loadstring, real_resume = loadstring, coroutine.resume
local concat, byte, floor, find, lower = table.concat, string.byte, math.floor, string.find, string.lower

local READONLY = "Attempt to modify a readonly table"

-- `load` gathers no more than so many bytes.
local LOADED_BYTES_MAX = 16 * 1024 * 1024

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

-- A script that was killed cannot catch the error that says so.
local function raise_if_killed()
    if host.killed() then error({ err = host.killed_text }, 0) end
end

local is_text = { string = true, number = true }

-- As in Redis, an error table becomes its text where a script catches it.
local function caught(ok, ...)
    if ok then return true, ... end
    raise_if_killed()
    local problem = ...
    if type(problem) == "table" and is_text[type(real_rawget(problem, "err"))] then problem = problem.err end
    return false, problem
end

local function resumed(ok, ...)
    if not ok then raise_if_killed() end
    return ok, ...
end

local globals = {
    _VERSION = _VERSION,
    assert = assert, error = error, ipairs = ipairs, rawequal = rawequal, select = select,
    tonumber = tonumber, tostring = tostring, type = type, gcinfo = gcinfo,
    collectgarbage = host.guard_collectgarbage(collectgarbage),
}
local G, environment = readonly(globals)
globals._G = G
local unknown = { __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end }
real_setmetatable(globals, unknown)

function globals.pcall(f, ...) return caught(real_pcall(f, ...)) end

local loadstring = host.guard_loadstring(real_loadstring, G)
globals.loadstring = loadstring

-- What the pieces make is compiled when all are there: a script that ran in between could make the collector free what the compiler
-- holds (CVE-2025-49844).
local function load(pieces, name)
    local texts, bytes = {}, 0
    while true do
        local piece = pieces()
        if piece == nil or piece == "" then break end
        if type(piece) ~= "string" then error("reader function must return a string", 0) end
        bytes = bytes + #piece
        if bytes > LOADED_BYTES_MAX then return nil, "chunk is too long" end
        texts[#texts + 1] = piece
    end
    return loadstring(concat(texts), name or "=(load)")
end

local guarded = host.guard({
    unpack = unpack, next = next, rawget = rawget, rawset = rawset, load = load,
    getmetatable = getmetatable, setmetatable = setmetatable,
    xpcall = function(f, handler) return caught(real_xpcall(f, handler)) end,
    find = string.find, match = string.match, gmatch = string.gmatch, gsub = string.gsub,
    insert = table.insert, foreach = table.foreach,
}, behind)

for _, name in ipairs({ "unpack", "next", "pairs", "rawget", "rawset", "getmetatable", "setmetatable", "load", "xpcall" }) do
    globals[name] = guarded[name]
end
string.find, string.match, string.gsub = guarded.find, guarded.match, guarded.gsub
string.gmatch, string.gfind = guarded.gmatch, guarded.gmatch
table.insert, table.foreach = guarded.insert, guarded.foreach
math.random, math.randomseed = host.random.random, host.random.randomseed

local function library(name, functions)
    globals[name] = readonly(functions)
end

local coroutines = {}
for name, f in real_pairs(coroutine) do coroutines[name] = f end
function coroutines.resume(...) return resumed(real_resume(...)) end
library("coroutine", coroutines)
library("string", string)
library("table", table)
library("math", math)
library("os", { clock = os.clock })
for name, functions in real_pairs(host.libraries) do library(name, functions) end

local text_metatable = real_getmetatable("")
text_metatable.__metatable = readonly({ __index = globals.string })

---------------------------------------------------------------------------------------------------------------------------

local redis = {
    LOG_DEBUG = 0, LOG_VERBOSE = 1, LOG_NOTICE = 2, LOG_WARNING = 3,
    REPL_NONE = 0, REPL_AOF = 1, REPL_SLAVE = 2, REPL_REPLICA = 2, REPL_ALL = 3,
    REDIS_VERSION = host.version, REDIS_VERSION_NUM = host.version_number,
}

-- Where lines for the log go while a library is loaded.
local loading_log

local function fail(text) error({ err = "ERR " .. text }, 0) end

local NO_ARGUMENT = "ERR Please specify at least one argument for this redis lib call"

local function single_string(...)
    return select("#", ...) == 1 and type((...)) == "string"
end

function redis.error_reply(...)
    if not single_string(...) then return { err = "ERR wrong number or type of arguments" } end
    local text = ...
    if byte(text, 1) == 45 then text = text:sub(2) end
    if not text:find(" ", 1, true) then text = "ERR " .. text end
    return { err = text }
end

function redis.status_reply(...)
    if not single_string(...) then return { err = "ERR wrong number or type of arguments" } end
    return { ok = (...) }
end

function redis.sha1hex(...)
    if select("#", ...) ~= 1 then fail("wrong number of arguments") end
    local text = ...
    if type(text) == "number" then text = tostring(text) elseif type(text) ~= "string" then text = "" end
    return host.sha1hex(text)
end

-- A number as C's int has it.
local function int(value)
    local number = tonumber(value)
    return number and (number < 0 and -floor(-number) or floor(number))
end

function redis.log(...)
    if select("#", ...) < 2 then fail("redis.log() requires two arguments or more.") end
    local level = int((...))
    if not level then fail("First argument must be a number (log level).") end
    if level < 0 or level > 3 then fail("Invalid log level.") end
    local words = {}
    for index = 2, select("#", ...) do
        local word = (select(index, ...))
        if is_text[type(word)] then words[#words + 1] = tostring(word) end
    end
    (loading_log or host.log)(floor(level), concat(words, " "))
end

function redis.setresp(...)
    if select("#", ...) ~= 1 then fail("redis.setresp() requires one argument.") end
    local version = int((...))
    if version ~= 2 and version ~= 3 then fail("RESP version must be 2 or 3.") end
    host.setresp(version)
end

function redis.set_repl(...)
    if select("#", ...) ~= 1 then fail("redis.set_repl() requires one argument.") end
    local flags = int((...)) or 0
    if flags < 0 or flags > 3 then
        fail("Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")
    end
end

function redis.acl_check_cmd(...)
    if select("#", ...) == 0 then error({ err = NO_ARGUMENT }, 0) end
    local permitted = host.permits(...)
    if type(permitted) == "string" then error({ err = permitted }, 0) end
    if permitted == nil then fail("Invalid command passed to redis.acl_check_cmd()") end
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
redis.call, redis.pcall = host.call, host.pcall
library("redis", redis)

-- Valkey's name for the same, by which scripts know what it has and Redis has not.
local server = { SERVER_NAME = "valkey", VALKEY_VERSION = "9.1.0", VALKEY_VERSION_NUM = 0x90100 }
for name, value in real_pairs(redis) do server[name] = value end
library("server", server)

---------------------------------------------------------------------------------------------------------------------------

-- What went wrong, and where: in the innermost function that is the script's own.
local function handler(problem)
    local where
    for level = 2, 100 do
        local info = getinfo(level, "Sl")
        if not info then break end
        if info.currentline > 0 and info.source ~= "=sandbox" then
            where = info.source .. ":" .. info.currentline
            break
        end
    end
    local kind, text = type(problem), nil
    local counted = false
    if host.killed() then
        text = host.killed_text
    elseif kind == "table" then
        text, counted = problem.err, problem.ignore_error_stats_update
        if is_text[type(text)] then text = tostring(text) else text = "ERR unknown error" end
    else
        text = "ERR " .. tostring(problem)
    end
    return { text, where, counted and true or false }
end

if not host.has_functions then return G, globals, handler end

---------------------------------------------------------------------------------------------------------------------------
-- Functions. While a library is loaded it sees nothing but `redis`, and of it nothing that acts.

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

local loading = readonly(real_setmetatable(loading_redis, unknown))
local loading_globals = real_setmetatable({ redis = loading, server = loading }, unknown)

-- `environment` is the metatable of what all functions see as globals.
local function load_library(chunk, log)
    registered, registered_names = {}, {}
    environment.__index, loading_log = loading_globals, log
    local ok, value = real_xpcall(chunk, handler)
    environment.__index, loading_log = globals, nil
    local list = registered
    registered, registered_names = nil, nil
    if ok then return true, list end
    return false, type(value) == "table" and value[1] or "ERR " .. tostring(value)
end

return G, globals, handler, load_library
