//! The one interpreter.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use mlua::ffi;
use mlua::{ChunkMode, Error, Function, HookTriggers, Lua, LuaOptions, StdLib, Table, Value as LuaValue, VmState};
use parking_lot::Mutex;
use resp::Reply;
use resp::client::{ReplyParser, Value};

use crate::convert;
use crate::functions;
use crate::natives::{self, Scratch};
use crate::script::{Script, ScriptFlags, Sha1, sha1_of};

/// The clock is read after so many instructions of Lua.
const INSTRUCTIONS_A_LOOK: u32 = 100_000;

/// What a script may have in memory at once. Redis knows no limit; here an allocation that fails is an error of the script.
const MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// The end of a script that takes too long. See `docs/design.md`, section 11.
const ENDED_TEXT: &str =
    "ERR The script ran for longer than busy-reply-threshold and was ended before it had written anything.";

/// A library that takes longer to load is refused.
const LOAD_TIME_MAX: Duration = Duration::from_millis(500);

/// What errors call the text that they are in.
const SCRIPT_SOURCE: &str = "user_script";
const FUNCTION_SOURCE: &str = "user_function";

/// What can be run.
#[derive(Clone, Debug)]
pub enum Program {
    Script(Script),
    Function(functions::Function),
}

impl Program {
    /// A script's digest, a function's name.
    pub fn name(&self) -> &[u8] {
        match self {
            Program::Script(script) => &script.sha1,
            Program::Function(function) => function.name.as_bytes(),
        }
    }

    /// What it declares about itself; `None` for a script without a shebang.
    pub fn flags(&self) -> Option<ScriptFlags> {
        match self {
            Program::Script(script) => script.flags,
            Program::Function(function) => Some(function.flags),
        }
    }
}
const WRONG_ARGUMENTS: &str = "ERR Lua redis lib command arguments must be strings or integers";

/// What a script sees of the server.
pub trait Host {
    /// Runs a command and returns its reply in the protocol's form, in RESP3 if `resp3`.
    ///
    /// # Errors
    /// The text of a command that was refused before it ran.
    fn call(&mut self, args: &[&[u8]], resp3: bool) -> Result<Vec<u8>, Vec<u8>>;
    /// A line for the log; 0 is for debugging, 3 a warning.
    fn log(&mut self, level: u8, text: &str);
    /// Whether the script's caller may run this command with these arguments. `None`: there is no such command.
    fn permits(&self, args: &[&[u8]]) -> Option<bool>;
    /// Whether a command of this script has changed anything: it cannot be ended halfway any more.
    fn has_written(&self) -> bool;
}

/// What holds for one run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A script that has written nothing by then is ended.
    pub time_max: Option<Duration>,
}

/// What the hook and the sandbox's functions share with [`Engine::run`].
#[derive(Default)]
struct State {
    resp3: AtomicBool,
    /// The time is over.
    ended: AtomicBool,
    written: AtomicBool,
    deadline: Mutex<Option<Instant>>,
}

/// How a run ended, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The script returned.
    Returned,
    /// It failed. `counted`: with the error of a command, which was counted when it happened.
    Failed { counted: bool },
    /// It was ended for its time.
    TimedOut,
}

/// The interpreter with its sandbox, and the scripts that it has compiled.
pub struct Engine {
    lua: Lua,
    globals: Table,
    runner: Function,
    /// In an interpreter for functions.
    loader: Option<Function>,
    /// What is compiled, by numbers that the next is greater than: of references from here to Lua's values there are but 8,000.
    chunks: Table,
    next_chunk: i64,
    compiled: HashMap<Sha1, i64>,
    state: Arc<State>,
    /// Behind `lua`: the interpreter's functions point to it.
    _scratch: Scratch,
}

/// `behind_c(f)`: a C function that calls `f`. A script's `return f(…)` would give its own frame away to a function in Lua, and with
/// it the number of the line for error texts; to one in C it does not.
unsafe extern "C-unwind" fn behind_c(lua: *mut mlua::lua_State) -> c_int {
    unsafe extern "C-unwind" fn through(lua: *mut mlua::lua_State) -> c_int {
        // SAFETY: Lua calls this with its own state and at least LUA_MINSTACK free places. An error of `f` leaves by way of this
        // frame, which has nothing to drop.
        unsafe {
            let args = ffi::lua_gettop(lua);
            ffi::lua_pushvalue(lua, ffi::lua_upvalueindex(1));
            ffi::lua_insert(lua, 1);
            ffi::lua_call(lua, args, ffi::LUA_MULTRET);
            ffi::lua_gettop(lua)
        }
    }
    // SAFETY: as above; the sandbox calls this with one function, which becomes the upvalue.
    unsafe {
        ffi::lua_settop(lua, 1);
        ffi::lua_pushcclosure(lua, through, 1);
    }
    1
}

fn not_started(error: Error) -> Vec<u8> {
    format!("ERR the script interpreter does not start: {error}").into_bytes()
}

impl Engine {
    /// An interpreter for scripts that are told that this is Redis of `version`.
    ///
    /// # Errors
    /// If there is no memory for it.
    ///
    /// # Panics
    /// If the sandbox, which is part of the program, does not compile.
    pub fn new(version: [u8; 3]) -> Result<Engine, Vec<u8>> {
        Engine::build(version, false).map_err(not_started)
    }

    /// The same for functions.
    ///
    /// # Errors
    /// See [`new`](Engine::new).
    pub fn for_functions(version: [u8; 3]) -> Result<Engine, Vec<u8>> {
        Engine::build(version, true).map_err(not_started)
    }

    fn build(version: [u8; 3], has_functions: bool) -> mlua::Result<Engine> {
        let libraries = StdLib::TABLE | StdLib::STRING | StdLib::OS | StdLib::MATH | StdLib::DEBUG;
        // SAFETY: `debug` can break the interpreter; only the sandbox gets it, and takes nothing but `getinfo`. No script sees a
        // function that loads C modules or bytecode.
        let lua = unsafe { Lua::unsafe_new_with(libraries, LuaOptions::new().catch_rust_panics(false)) };
        let state = Arc::new(State::default());
        let host = lua.create_table()?;
        // SAFETY: `behind_c` follows the rules of a C function of Lua.
        host.raw_set("behind_c", unsafe { lua.create_c_function(behind_c)? })?;
        host.raw_set("ended_text", ENDED_TEXT)?;
        let [major, minor, patch] = version;
        host.raw_set("version", format!("{major}.{minor}.{patch}"))?;
        host.raw_set("version_number", u32::from_be_bytes([0, major, minor, patch]))?;
        host.raw_set(
            "sha1hex",
            lua.create_function(|lua, text: mlua::String| lua.create_string(sha1_of(&text.as_bytes())))?,
        )?;
        let shared = state.clone();
        host.raw_set("ended", lua.create_function(move |_, ()| Ok(shared.ended.load(Relaxed)))?)?;
        let shared = state.clone();
        let setresp = move |_: &Lua, version: i64| {
            shared.resp3.store(version == 3, Relaxed);
            Ok(())
        };
        host.raw_set("setresp", lua.create_function(setresp)?)?;
        natives::guards(&lua, &host)?;
        // SAFETY: the engine drops the scratch behind the interpreter.
        let (libraries, scratch) = unsafe { natives::libraries(&lua)? };
        host.raw_set("libraries", libraries)?;
        let chunks = lua.create_table()?;
        host.raw_set("chunks", &chunks)?;
        host.raw_set("source", format!("@{}", if has_functions { FUNCTION_SOURCE } else { SCRIPT_SOURCE }))?;
        host.raw_set("has_functions", has_functions)?;
        let is_flag = |_: &Lua, name: mlua::String| Ok(ScriptFlags::default().set(&name.as_bytes()));
        host.raw_set("is_flag", lua.create_function(is_flag)?)?;
        let getinfo: Function = lua.globals().get::<Table>("debug")?.get("getinfo")?;
        let sandbox = lua.load(include_str!("sandbox.lua")).set_name("=sandbox");
        let (globals, runner, loader): (Table, Function, Option<Function>) = sandbox.call((host, getinfo))?;

        let shared = state.clone();
        let look = move |_: &Lua, _: &mlua::Debug<'_>| {
            if shared.deadline.lock().is_none_or(|deadline| Instant::now() < deadline) {
                return Ok(VmState::Continue);
            }
            if shared.written.load(Relaxed) {
                return Ok(VmState::Continue);
            }
            shared.ended.store(true, Relaxed);
            Err(Error::runtime(ENDED_TEXT))
        };
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(INSTRUCTIONS_A_LOOK), look)?;
        lua.set_memory_limit(MEMORY_BYTES_MAX)?;
        let compiled = HashMap::new();
        Ok(Engine { lua, globals, runner, loader, chunks, next_chunk: 1, compiled, state, _scratch: scratch })
    }

    /// Makes a script ready to run.
    ///
    /// # Errors
    /// The text for the client if it is no Lua.
    pub fn compile(&mut self, script: &Script) -> Result<(), Vec<u8>> {
        if self.compiled.contains_key(&script.sha1) {
            return Ok(());
        }
        let function = self
            .compile_text(script.program(), SCRIPT_SOURCE)
            .map_err(|text| [b"ERR Error compiling script (new function): ", text.as_bytes()].concat())?;
        let chunk = self.keep_chunk(&function).map_err(|error| format!("ERR {error}").into_bytes())?;
        self.compiled.insert(script.sha1, chunk);
        Ok(())
    }

    /// A function of this text; or why it is none.
    fn compile_text(&self, text: &[u8], source: &str) -> Result<Function, String> {
        let chunk = self.lua.load(text).set_name(format!("@{source}")).set_mode(ChunkMode::Text);
        chunk.set_environment(self.globals.clone()).into_function().map_err(|error| match error {
            Error::SyntaxError { message, .. } => message,
            other => other.to_string(),
        })
    }

    fn keep_chunk(&mut self, function: &Function) -> mlua::Result<i64> {
        let chunk = self.next_chunk;
        self.chunks.raw_set(chunk, function)?;
        self.next_chunk += 1;
        Ok(chunk)
    }

    /// Forgets a script.
    pub fn forget(&mut self, name: &Sha1) {
        if let Some(chunk) = self.compiled.remove(name) {
            self.forget_chunk(chunk);
        }
    }

    pub(crate) fn forget_chunk(&mut self, chunk: i64) {
        // To take away takes no memory.
        self.chunks.raw_set(chunk, LuaValue::Nil).expect("a key that is there");
    }

    /// Runs the program of a library, and keeps the functions that it registers.
    ///
    /// # Errors
    /// The text for the client.
    pub(crate) fn load_library(
        &mut self,
        program: &[u8],
        log: &mut dyn FnMut(u8, &str),
    ) -> Result<Vec<functions::Function>, Vec<u8>> {
        let chunk = self
            .compile_text(program, FUNCTION_SOURCE)
            .map_err(|text| [b"ERR Error compiling function: ", text.as_bytes()].concat())?;
        self.begin(Some(LOAD_TIME_MAX));
        let registered = self.register(&chunk, log);
        *self.state.deadline.lock() = None;
        match registered {
            Ok(Ok(functions)) => Ok(functions),
            Ok(Err(_)) if self.state.ended.load(Relaxed) => {
                Err(b"ERR Error registering functions: ERR FUNCTION LOAD timeout".to_vec())
            }
            Ok(Err(text)) => Err([b"ERR Error registering functions: ", &text[..]].concat()),
            Err(error) => Err(format!("ERR Error registering functions: ERR {error}").into_bytes()),
        }
    }

    /// What the library has registered, or the text of its error.
    fn register(
        &mut self,
        chunk: &Function,
        log: &mut dyn FnMut(u8, &str),
    ) -> mlua::Result<Result<Vec<functions::Function>, Vec<u8>>> {
        let loader = self.loader.clone().expect("an interpreter for functions");
        let log = RefCell::new(log);
        let (ok, registered): (bool, LuaValue) = self.lua.scope(|scope| {
            let log = scope.create_function(|_, (level, text): (u8, mlua::String)| {
                log.borrow_mut()(level, &text.to_string_lossy());
                Ok(())
            })?;
            loader.call((chunk, log))
        })?;
        let rows = match registered {
            LuaValue::Table(rows) if ok => rows,
            LuaValue::String(text) => return Ok(Err(text.as_bytes().to_vec())),
            _ => return Ok(Err(b"ERR unknown error".to_vec())),
        };
        let mut functions = Vec::new();
        for index in 1..=rows.raw_len() {
            let row: Table = rows.raw_get(index)?;
            let name: String = row.raw_get(1)?;
            let description: Option<mlua::String> = row.raw_get(2)?;
            let description = description.map(|text| text.as_bytes().as_ref().into());
            let mut flags = ScriptFlags::default();
            let names: mlua::String = row.raw_get(3)?;
            names.as_bytes().split(|&byte| byte == b',').for_each(|name| {
                flags.set(name);
            });
            let callback: Function = row.raw_get(4)?;
            let chunk = self.keep_chunk(&callback)?;
            functions.push(functions::Function { name: name.into(), description, flags, chunk });
        }
        Ok(Ok(functions))
    }

    /// Memory of the interpreter.
    pub fn memory_bytes(&self) -> usize {
        self.lua.used_memory()
    }

    /// Runs a script and writes its reply, which is an error if it fails.
    pub fn run(
        &mut self,
        program: &Program,
        keys: &[&[u8]],
        args: &[&[u8]],
        limits: Limits,
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> Ended {
        if let Program::Script(script) = program
            && let Err(text) = self.compile(script)
        {
            reply.error(text);
            return Ended::Failed { counted: false };
        }
        self.begin(limits.time_max);
        let mark = reply.mark();
        let outcome = self.enter(program, keys, args, host, reply);
        *self.state.deadline.lock() = None;
        let ended = self.state.ended.load(Relaxed);
        // What is garbage now must not be in the way of the next script.
        if self.lua.used_memory() > MEMORY_BYTES_MAX / 2 {
            self.lua.gc_collect().ok();
        }
        match outcome {
            Ok(None) => Ended::Returned,
            Ok(Some(counted)) if !ended => Ended::Failed { counted },
            Ok(Some(_)) => Ended::TimedOut,
            Err(error) => {
                // Neither the script's values nor its error fit into memory.
                reply.truncate(mark);
                reply.error(format!("ERR {error}"));
                Ended::Failed { counted: false }
            }
        }
    }

    fn begin(&self, time_max: Option<Duration>) {
        let state = &*self.state;
        state.resp3.store(false, Relaxed);
        state.ended.store(false, Relaxed);
        state.written.store(false, Relaxed);
        *state.deadline.lock() = time_max.and_then(|time_max| Instant::now().checked_add(time_max));
    }

    /// `Some` if the script has failed: whether with an error that a command has counted.
    fn enter(
        &self,
        program: &Program,
        keys: &[&[u8]],
        args: &[&[u8]],
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> mlua::Result<Option<bool>> {
        let lua = &self.lua;
        let state = &*self.state;
        let texts = |texts: &[&[u8]]| {
            let table = lua.create_table_with_capacity(texts.len(), 0)?;
            for (index, text) in texts.iter().enumerate() {
                table.raw_set(index + 1, lua.create_string(text)?)?;
            }
            Ok::<Table, Error>(table)
        };
        let (keys, args) = (texts(keys)?, texts(args)?);
        let chunk = match program {
            Program::Script(script) => self.compiled[&script.sha1],
            Program::Function(function) => function.chunk,
        };
        let host = RefCell::new(host);
        let (ok, value, place, counted): (bool, LuaValue, Option<mlua::String>, Option<bool>) = lua.scope(|scope| {
            let call = scope.create_function(|lua, (count, args): (usize, Table)| {
                let resp3 = state.resp3.load(Relaxed);
                let mut host = host.borrow_mut();
                let outcome = call(lua, count, &args, resp3, &mut **host);
                state.written.store(host.has_written(), Relaxed);
                outcome
            })?;
            let log = scope.create_function(|_, (level, text): (u8, mlua::String)| {
                host.borrow_mut().log(level, &text.to_string_lossy());
                Ok(())
            })?;
            // Whether the arguments are texts, and what the host says to them.
            let permits = scope.create_function(|_, (count, args): (usize, Table)| {
                let Some(words) = words(count, &args)? else { return Ok((false, None)) };
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                Ok((true, host.borrow().permits(&words)))
            })?;
            self.runner.call((chunk, keys, args, call, log, permits))
        })?;
        if ok {
            convert::to_reply(lua, &value, state.resp3.load(Relaxed), reply)?;
            return Ok(None);
        }
        let mut text = match &value {
            LuaValue::String(text) => text.as_bytes().to_vec(),
            _ => b"ERR unknown error".to_vec(),
        };
        text.extend_from_slice(b" script: ");
        text.extend_from_slice(program.name());
        if let Some(place) = place {
            text.extend_from_slice(b", on ");
            text.extend_from_slice(&place.as_bytes());
            text.push(b'.');
        }
        reply.error(text);
        Ok(Some(counted.unwrap_or(false)))
    }
}

/// The arguments of a command, unless one of them can be none.
fn words(count: usize, args: &Table) -> mlua::Result<Option<Vec<Vec<u8>>>> {
    (1..=count).map(|index| Ok(convert::argument(&args.raw_get(index)?))).collect()
}

/// The arguments come in a table: one reference to Lua's values at a time, of which there are but 8,000. `true` and the reply, or `false` and the text of an error.
fn call(lua: &Lua, count: usize, args: &Table, resp3: bool, host: &mut dyn Host) -> mlua::Result<(bool, LuaValue)> {
    let refused = |text: &[u8]| Ok((false, LuaValue::String(lua.create_string(text)?)));
    let Some(words) = words(count, args)? else {
        return refused(WRONG_ARGUMENTS.as_bytes());
    };
    let args: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let bytes = match host.call(&args, resp3) {
        Ok(bytes) => bytes,
        Err(text) => return refused(&text),
    };
    let mut parser = ReplyParser::new();
    parser.feed(&bytes);
    match parser.next_reply() {
        Ok(Some(Value::Error(text) | Value::BulkError(text))) => refused(&text),
        Ok(Some(value)) => Ok((true, convert::to_lua(lua, value)?)),
        Ok(None) | Err(_) => unreachable!("a command's reply is one whole reply"),
    }
}
