-- The world of a script: Lua 5.1's libraries without a way out, `redis`, and tables that cannot be changed.
--
-- Lua 5.1 has no read-only tables. What a script sees of a library (and of the globals) is an empty table in front of the real
-- one: reads fall through, writes arrive at `refuse`. Functions that go past metatables look behind it here.
--
-- Called once, with the functions of the host; returns the function that runs a script.

local host, getinfo = ...
local error, type, tostring, select, unpack = error, type, tostring, select, unpack
local real_pcall, real_xpcall, real_pairs, real_next = pcall, xpcall, pairs, next
local real_setmetatable, real_getmetatable, real_rawset, real_rawget = setmetatable, getmetatable, rawset, rawget
local real_loadstring, real_resume, real_collectgarbage = loadstring, coroutine.resume, collectgarbage
local setfenv, concat, byte, floor = setfenv, table.concat, string.byte, math.floor

local READONLY = "Attempt to modify a readonly table"
local SCRIPT = "@user_script"

-- What lies behind each empty table.
local behind = {}

local function refuse() error(READONLY, 2) end

local function readonly(real)
    local front, locked = {}, {}
    behind[front] = real
    behind[locked] = {}
    real_setmetatable(locked, { __newindex = refuse, __metatable = locked })
    return real_setmetatable(front, { __index = real, __newindex = refuse, __metatable = locked })
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
local G = readonly(globals)
globals._G = G
real_setmetatable(globals, { __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
end })

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

local current_call, current_log, current_knows

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
    if not current_knows((...)) then error("Invalid command passed to redis.acl_check_cmd()", 0) end
    return true
end

-- What replicas get has always been the effects; there is no debugger to break into.
function redis.replicate_commands() return true end
function redis.breakpoint() return false end
function redis.debug() end

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
        if info.source == SCRIPT and info.currentline > 0 then
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

return G, function(chunk, keys, argv, call, log, knows)
    globals.KEYS, globals.ARGV = keys, argv
    current_call, current_log, current_knows = call, log, knows
    local ok, value = real_xpcall(chunk, handler)
    globals.KEYS, globals.ARGV = nil, nil
    current_call, current_log, current_knows = nil, nil, nil
    -- `table.insert` and its kin do write into the empty tables in front.
    for front in real_pairs(behind) do
        if real_next(front) ~= nil then
            for key in real_pairs(front) do front[key] = nil end
        end
    end
    if ok then return true, value end
    if type(value) == "table" then return false, value[1], value[2], value[3] end
    -- There was no memory, or no stack, for the handler.
    return false, "ERR " .. tostring(value)
end
