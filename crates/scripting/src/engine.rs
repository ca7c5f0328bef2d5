//! The one interpreter.

use std::cell::{Cell, RefCell, UnsafeCell};
use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlua::ffi;
use mlua::{
    ChunkMode, Error, Function, HookTriggers, IntoLua, Lua, LuaOptions, StdLib, Table, Value as LuaValue, Variadic,
    VmState,
};
use resp::Reply;

use crate::call::{self, BAD_ARGUMENT, Tags, push_texts, text_at};
use crate::convert::{self, Writer};
use crate::functions;
use crate::natives::{self, Scratch};
use crate::script::{Script, ScriptFlags, Sha1, sha1_of};

/// The clock is read after so many instructions of Lua.
const INSTRUCTIONS_A_LOOK: u32 = 100_000;

/// What a script may have in memory at once. Redis knows no limit; here an allocation that fails is an error of the script.
const MEMORY_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// An object that the collector counts as alive, and never touches: it begins when there is as much garbage as what lives, and all that
/// lives in an interpreter whose scripts are short is so little that it would begin after every hundred of them.
const BALLAST_BYTES: usize = 256 * 1024;

/// Keys and arguments up to so many, of so many bytes together, stay until those of the next script take their places.
const KEPT_TEXTS_MAX: usize = 16;
const KEPT_TEXT_BYTES_MAX: usize = 4096;

/// What a script ends with that is killed. Functions have the same.
const KILLED_TEXT: &str = "ERR Script killed by user with SCRIPT KILL...";

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

/// What a script sees of the server.
pub trait Host {
    /// Runs a command and writes its reply, which is an error if the command is refused.
    fn call(&mut self, args: &[&[u8]], reply: &mut Reply);
    /// A line for the log; 0 is for debugging, 3 a warning.
    fn log(&mut self, level: u8, text: &str);
    /// The script has returned this error, which is none that a command has counted.
    fn fails_with(&mut self, text: &[u8]);
    /// Whether the script's caller may run this command with these arguments. `None`: there is no such command.
    fn permits(&self, args: &[&[u8]]) -> Option<bool>;
    /// It is none of the shortest. Called between two of its instructions, long before it is slow.
    fn lasts(&mut self) {}
    /// The script has become slow: others have their turn, between two of its instructions. False if it is to end here.
    fn meanwhile(&mut self) -> bool;
}

/// What the hook and the sandbox's functions share with [`Engine::run`].
pub(crate) struct State {
    resp3: Cell<bool>,
    /// The script was killed, and cannot catch the error that says so.
    killed: Cell<bool>,
    /// After so long the host is asked for others' sake.
    slow_after: Cell<Option<Duration>>,
    /// When that is: known from the first look on, since most scripts have ended by then, and never read the clock.
    slow_from: Cell<Option<Instant>>,
    /// Of the script that runs.
    host: Cell<Option<*mut (dyn Host + 'static)>>,
    /// Lua's own, while no coroutine runs.
    main: Cell<*mut mlua::lua_State>,
    /// Of the command that a script calls: its arguments that are numbers, and its reply.
    call: UnsafeCell<(Vec<u8>, Reply)>,
}

impl State {
    fn new() -> State {
        State {
            resp3: Cell::new(false),
            killed: Cell::new(false),
            slow_after: Cell::new(None),
            slow_from: Cell::new(None),
            host: Cell::new(None),
            main: Cell::new(std::ptr::null_mut()),
            call: UnsafeCell::default(),
        }
    }

    pub(crate) fn resp3(&self) -> bool {
        self.resp3.get()
    }

    /// For the texts of arguments, and for the reply.
    ///
    /// # Safety
    /// What was returned before is not used any more.
    #[expect(clippy::mut_from_ref, reason = "the caller is the only one")]
    pub(crate) unsafe fn call_buffers(&self) -> (&mut Vec<u8>, &mut Reply) {
        // SAFETY: the caller's.
        let (texts, reply) = unsafe { &mut *self.call.get() };
        (texts, reply)
    }

    /// Makes the reply one piece.
    ///
    /// # Safety
    /// As [`call_buffers`](State::call_buffers).
    pub(crate) unsafe fn flatten_reply(&self) {
        // SAFETY: the caller's.
        let (texts, reply) = unsafe { self.call_buffers() };
        if reply.as_slice().is_none() {
            texts.clear();
            reply.segments().for_each(|segment| texts.extend_from_slice(segment));
            reply.clear();
            reply.raw(texts);
        }
    }

    /// Where the reply lies, and its length.
    ///
    /// # Safety
    /// As [`call_buffers`](State::call_buffers); and the bytes are there until then.
    pub(crate) unsafe fn reply_bytes(&self) -> (*const u8, usize) {
        // SAFETY: the caller's.
        let bytes = unsafe { self.call_buffers() }.1.as_slice().expect("it is one piece");
        (bytes.as_ptr(), bytes.len())
    }

    /// What the script that runs sees of the server.
    ///
    /// # Safety
    /// A script runs, and what was returned before is not used any more.
    #[expect(clippy::mut_from_ref, reason = "of another owner, which `Engine::run` has borrowed")]
    pub(crate) unsafe fn host(&self) -> &mut dyn Host {
        let host = self.host.get().expect("a script runs");
        // SAFETY: `run` holds the only reference while it is set, and leaves it alone.
        unsafe { &mut *host }
    }
}

// SAFETY: the engine's own, and reached only through it or from a script that it runs: by one thread at a time.
unsafe impl Send for State {}
// SAFETY: as above.
unsafe impl Sync for State {}

/// How a run ended, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The script returned; `with_error`, among the rest or alone.
    Returned { with_error: bool },
    /// It failed. `counted`: with the error of a command, which was counted when it happened.
    Failed { counted: bool },
    /// It was killed, because others had waited for too long.
    Killed,
}

/// The interpreter with its sandbox, and the scripts that it has compiled.
pub struct Engine {
    lua: Lua,
    /// The environment of scripts, as they see it.
    globals: Table,
    /// The place of [`run_script`] in Lua's registry.
    run: c_int,
    /// In an interpreter for functions.
    loader: Option<Function>,
    /// What is compiled, by numbers that the next is greater than: of references from here to Lua's values there are but 8,000.
    chunks: Table,
    next_chunk: i64,
    compiled: HashMap<Sha1, i64, foldhash::quality::RandomState>,
    /// The script that was looked up last, which is often the next one too.
    last: Option<(Sha1, i64)>,
    state: Arc<State>,
    /// Behind `lua`: the interpreter's functions point to it.
    _scratch: Scratch,
}

/// The upvalues of [`run_script`].
mod upvalue {
    use std::ffi::c_int;

    use mlua::ffi::lua_upvalueindex;

    /// The table behind the environment, where `KEYS` and `ARGV` are put.
    pub const GLOBALS: c_int = lua_upvalueindex(1);
    /// What is called with an error.
    pub const HANDLER: c_int = lua_upvalueindex(2);
    /// What is compiled, by numbers.
    pub const CHUNKS: c_int = lua_upvalueindex(3);
    /// Texts: Lua looks for a text among all that it has, whenever it is given one.
    pub const KEYS: c_int = lua_upvalueindex(4);
    pub const ARGV: c_int = lua_upvalueindex(5);
    pub const OK: c_int = lua_upvalueindex(6);
    pub const ERR: c_int = lua_upvalueindex(7);
    pub const COUNT: c_int = 7;
}

/// One run, as [`run_script`] sees it.
struct Run<'a> {
    chunk: i64,
    /// It gets keys and arguments as its own arguments, not as globals.
    is_function: bool,
    keys: &'a [&'a [u8]],
    args: &'a [&'a [u8]],
    state: &'a State,
    reply: &'a mut Reply,
    end: RunEnd,
}

impl Run<'_> {
    /// Whether keys and arguments may stay where they are.
    fn is_small(&self) -> bool {
        let texts = || self.keys.iter().chain(self.args);
        self.keys.len() + self.args.len() <= KEPT_TEXTS_MAX
            && texts().map(|text| text.len()).sum::<usize>() <= KEPT_TEXT_BYTES_MAX
    }
}

enum RunEnd {
    /// The reply is written.
    Replied,
    /// What the script has returned is still to become a reply: [`RESULT`].
    Returned,
    /// With this text, in this line of a source, and whether the error of a command.
    Failed { text: Vec<u8>, place: Option<Vec<u8>>, counted: bool },
}

/// Where in Lua's registry [`run_script`] leaves a table.
const RESULT: &std::ffi::CStr = c"spinel.result";

/// Runs a script within a call that is protected: without memory, everything here can fail.
///
/// Keeps the rule of [`call`](crate::call): nothing that must be dropped is owned here while Lua is called.
unsafe extern "C-unwind" fn run_script(lua: *mut mlua::lua_State) -> c_int {
    // SAFETY: `Engine::enter` calls this with a run that lives for longer. Places: 1 the run, 2 the handler, 3 the program and then
    // its result.
    unsafe {
        let run = &mut *ffi::lua_touserdata(lua, 1).cast::<Run<'_>>();
        ffi::lua_pushvalue(lua, upvalue::HANDLER);
        ffi::lua_rawgeti(lua, upvalue::CHUNKS, run.chunk);
        let status = if run.is_function {
            push_texts(lua, run.keys);
            push_texts(lua, run.args);
            ffi::lua_pcall(lua, 2, 1, 2)
        } else {
            for (name, texts) in [(upvalue::KEYS, run.keys), (upvalue::ARGV, run.args)] {
                ffi::lua_pushvalue(lua, name);
                push_texts(lua, texts);
                ffi::lua_rawset(lua, upvalue::GLOBALS);
            }
            let status = ffi::lua_pcall(lua, 0, 1, 2);
            if !run.is_small() {
                for name in [upvalue::KEYS, upvalue::ARGV] {
                    ffi::lua_pushvalue(lua, name);
                    ffi::lua_pushnil(lua);
                    ffi::lua_rawset(lua, upvalue::GLOBALS);
                }
            }
            status
        };
        if status == ffi::LUA_OK {
            let tags = Tags { ok: upvalue::OK, err: upvalue::ERR };
            if !call::write_simple(lua, tags, run.state.resp3(), run.reply) {
                ffi::lua_setfield(lua, ffi::LUA_REGISTRYINDEX, RESULT.as_ptr());
                run.end = RunEnd::Returned;
            }
            return 0;
        }
        if ffi::lua_type(lua, 3) != ffi::LUA_TTABLE {
            // There was no memory, or no stack, for the handler.
            let is_text = ffi::lua_type(lua, 3) == ffi::LUA_TSTRING;
            let reason = if is_text { text_at(lua, 3) } else { b"unknown error" };
            run.end = RunEnd::Failed { text: [b"ERR ", reason].concat(), place: None, counted: false };
            return 0;
        }
        for index in 1..=3 {
            ffi::lua_rawgeti(lua, 3, index);
        }
        // Nothing below fails.
        let place = (ffi::lua_type(lua, 5) == ffi::LUA_TSTRING).then(|| text_at(lua, 5).to_vec());
        let counted = ffi::lua_toboolean(lua, 6) != 0;
        run.end = RunEnd::Failed { text: text_at(lua, 4).to_vec(), place, counted };
        0
    }
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
        let state = Arc::new(State::new());
        let host = lua.create_table()?;
        // SAFETY: `behind_c` follows the rules of a C function of Lua.
        host.raw_set("behind_c", unsafe { lua.create_c_function(behind_c)? })?;
        host.raw_set("killed_text", KILLED_TEXT)?;
        let [major, minor, patch] = version;
        host.raw_set("version", format!("{major}.{minor}.{patch}"))?;
        host.raw_set("version_number", u32::from_be_bytes([0, major, minor, patch]))?;
        host.raw_set(
            "sha1hex",
            lua.create_function(|lua, text: mlua::String| lua.create_string(sha1_of(&text.as_bytes())))?,
        )?;
        let shared = state.clone();
        host.raw_set("killed", lua.create_function(move |_, ()| Ok(shared.killed.get()))?)?;
        let shared = state.clone();
        let setresp = move |_: &Lua, version: i64| {
            shared.resp3.set(version == 3);
            Ok(())
        };
        host.raw_set("setresp", lua.create_function(setresp)?)?;
        natives::guards(&lua, &host)?;
        // SAFETY: it only looks where it is.
        unsafe { lua.exec_raw::<()>((), |lua| state.main.set(lua))? };
        let shared = Arc::as_ptr(&state);
        for (name, function) in [("call", call::call as ffi::lua_CFunction), ("pcall", call::pcall)] {
            // SAFETY: the functions follow the rules of Lua, and the state is dropped behind the interpreter.
            let function: Function = unsafe { lua.exec_raw((), |lua| call::push_command(lua, function, shared))? };
            host.raw_set(name, function)?;
        }
        let shared = state.clone();
        let log = move |_: &Lua, (level, text): (u8, mlua::String)| {
            // SAFETY: only scripts get here.
            unsafe { shared.host() }.log(level, &text.to_string_lossy());
            Ok(())
        };
        host.raw_set("log", lua.create_function(log)?)?;
        let shared = state.clone();
        let permits = move |lua: &Lua, args: Variadic<LuaValue>| {
            let Some(words) = args.iter().map(convert::argument).collect::<Option<Vec<_>>>() else {
                return Ok(LuaValue::String(lua.create_string(BAD_ARGUMENT)?));
            };
            let words: Vec<&[u8]> = words.iter().map(|word| &**word).collect();
            // SAFETY: only scripts get here.
            Ok(unsafe { shared.host() }.permits(&words).map_or(LuaValue::Nil, LuaValue::Boolean))
        };
        host.raw_set("permits", lua.create_function(permits)?)?;
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
        let (globals, behind, handler, loader): (Table, Table, Function, Option<Function>) =
            sandbox.call((host, getinfo))?;
        let upvalues = (behind, handler, &chunks, "KEYS", "ARGV", "ok", "err");
        // SAFETY: it follows the rules of a C function of Lua, and these are its upvalues.
        let run: Function =
            unsafe { lua.exec_raw(upvalues, |lua| ffi::lua_pushcclosure(lua, run_script, upvalue::COUNT))? };
        let run = place(&lua, run)?;
        // SAFETY: it makes a value, which is returned.
        let ballast: LuaValue = unsafe {
            lua.exec_raw((), |lua| {
                ffi::lua_newuserdata(lua, BALLAST_BYTES);
            })?
        };
        place(&lua, ballast)?;

        let shared = state.clone();
        let look = move |_: &Lua, _: &mlua::Debug<'_>| {
            let Some(slow_after) = shared.slow_after.get() else {
                return Ok(VmState::Continue);
            };
            let now = Instant::now();
            match shared.slow_from.get() {
                Some(slow_from) if now >= slow_from => {}
                Some(_) => return Ok(VmState::Continue),
                None => {
                    shared.slow_from.set(now.checked_add(slow_after));
                    if shared.host.get().is_some() {
                        // SAFETY: as below.
                        unsafe { shared.host() }.lasts();
                    }
                    return Ok(VmState::Continue);
                }
            }
            // While a library is loaded there is no host: its time is over. SAFETY: scripts run, and what they call of it has
            // returned: there are no instructions of Lua in between.
            let goes_on = !shared.killed.get() && shared.host.get().is_some() && unsafe { shared.host() }.meanwhile();
            shared.killed.set(!goes_on);
            if goes_on { Ok(VmState::Continue) } else { Err(Error::runtime(KILLED_TEXT)) }
        };
        lua.set_global_hook(HookTriggers::new().every_nth_instruction(INSTRUCTIONS_A_LOOK), look)?;
        lua.set_memory_limit(MEMORY_BYTES_MAX)?;
        let compiled = HashMap::default();
        Ok(Engine { lua, globals, run, loader, chunks, next_chunk: 1, compiled, last: None, state, _scratch: scratch })
    }

    /// Makes a script ready to run.
    ///
    /// # Errors
    /// The text for the client if it is no Lua.
    pub fn compile(&mut self, script: &Script) -> Result<(), Vec<u8>> {
        self.chunk(script).map(|_| ())
    }

    /// The number of the compiled script.
    fn chunk(&mut self, script: &Script) -> Result<i64, Vec<u8>> {
        if let Some((_, chunk)) = self.last.filter(|(name, _)| *name == script.sha1) {
            return Ok(chunk);
        }
        if let Some(&chunk) = self.compiled.get(&script.sha1) {
            self.last = Some((script.sha1, chunk));
            return Ok(chunk);
        }
        let function = self
            .compile_text(script.program(), SCRIPT_SOURCE)
            .map_err(|text| [b"ERR Error compiling script (new function): ", text.as_bytes()].concat())?;
        let chunk = self.keep_chunk(&function).map_err(|error| format!("ERR {error}").into_bytes())?;
        self.compiled.insert(script.sha1, chunk);
        Ok(chunk)
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
            self.last = None;
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
        self.state.slow_after.set(None);
        match registered {
            Ok(Ok(functions)) => Ok(functions),
            Ok(Err(_)) if self.state.killed.get() => {
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

    /// Memory of the interpreter, without what it holds for the collector's sake alone.
    pub fn memory_bytes(&self) -> usize {
        self.lua.used_memory() - BALLAST_BYTES
    }

    /// Runs a script and writes its reply, which is an error if it fails. After `slow_after` the host is asked from time to time
    /// whether it may go on.
    pub fn run(
        &mut self,
        program: &Program,
        keys: &[&[u8]],
        args: &[&[u8]],
        slow_after: Option<Duration>,
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> Ended {
        let chunk = match program {
            Program::Script(script) => self.chunk(script),
            Program::Function(function) => Ok(function.chunk),
        };
        let chunk = match chunk {
            Ok(chunk) => chunk,
            Err(text) => {
                reply.error(text);
                return Ended::Failed { counted: false };
            }
        };
        self.begin(slow_after);
        let mark = reply.mark();
        let outcome = self.enter(program, chunk, keys, args, host, reply);
        self.state.slow_after.set(None);
        let killed = self.state.killed.get();
        // What is garbage now must not be in the way of the next script.
        if self.lua.used_memory() > MEMORY_BYTES_MAX / 2 {
            self.lua.gc_collect().ok();
        }
        match outcome {
            Ok(Ended::Failed { .. }) if killed => Ended::Killed,
            Ok(ended) => ended,
            Err(error) => {
                // Neither the script's values nor its error fit into memory.
                reply.truncate(mark);
                reply.error(format!("ERR {error}"));
                Ended::Failed { counted: false }
            }
        }
    }

    fn begin(&self, slow_after: Option<Duration>) {
        let state = &*self.state;
        state.resp3.set(false);
        state.killed.set(false);
        state.slow_after.set(slow_after);
        state.slow_from.set(None);
    }

    fn enter(
        &self,
        program: &Program,
        chunk: i64,
        keys: &[&[u8]],
        args: &[&[u8]],
        host: &mut dyn Host,
        reply: &mut Reply,
    ) -> mlua::Result<Ended> {
        let state = &*self.state;
        let lent: *mut (dyn Host + '_) = host;
        // SAFETY: only the lifetime changes, and the pointer is taken away below, before the borrow ends.
        let lent = unsafe { std::mem::transmute::<*mut (dyn Host + '_), *mut (dyn Host + 'static)>(lent) };
        let is_function = matches!(program, Program::Function(_));
        let mut run = Run { chunk, is_function, keys, args, state, reply, end: RunEnd::Replied };
        let pointer: *mut Run<'_> = &mut run;
        state.host.set(Some(lent));
        // SAFETY: nobody else is in the interpreter, whose own stack always has a few free places, and nothing here fails but what is
        // protected: `run_script`, which is called with what it expects.
        let failure = unsafe {
            let lua = state.main.get();
            ffi::lua_rawgeti(lua, ffi::LUA_REGISTRYINDEX, self.run.into());
            ffi::lua_pushlightuserdata(lua, pointer.cast::<c_void>());
            let status = ffi::lua_pcall(lua, 1, 0, 0);
            (status != ffi::LUA_OK).then(|| {
                let is_text = ffi::lua_type(lua, -1) == ffi::LUA_TSTRING;
                let reason = if is_text { text_at(lua, -1).to_vec() } else { b"unknown error".to_vec() };
                ffi::lua_settop(lua, -2);
                reason
            })
        };
        state.host.set(None);
        if let Some(reason) = failure {
            return Err(Error::runtime(String::from_utf8_lossy(&reason)));
        }
        let Run { end, reply, .. } = run;
        match end {
            RunEnd::Replied => Ok(Ended::Returned { with_error: false }),
            RunEnd::Returned => {
                let name = RESULT.to_str().expect("a name in ASCII");
                let value: LuaValue = self.lua.named_registry_value(name)?;
                self.lua.unset_named_registry_value(name)?;
                let uncounted = &mut |text: &[u8]| host.fails_with(text);
                let mut writer = Writer { lua: &self.lua, resp3: state.resp3(), reply, uncounted, has_error: false };
                writer.write(&value)?;
                Ok(Ended::Returned { with_error: writer.has_error })
            }
            RunEnd::Failed { mut text, place, counted } => {
                text.extend_from_slice(b" script: ");
                text.extend_from_slice(program.name());
                if let Some(place) = place {
                    text.extend_from_slice(b", on ");
                    text.extend_from_slice(&place);
                    text.push(b'.');
                }
                reply.error(text);
                Ok(Ended::Failed { counted })
            }
        }
    }
}

/// Keeps a value where it can be had by a number.
fn place(lua: &Lua, value: impl IntoLua) -> mlua::Result<c_int> {
    // SAFETY: `luaL_ref` takes the value from the stack; the number takes its place.
    unsafe {
        lua.exec_raw(value, |lua| {
            let place = ffi::luaL_ref(lua, ffi::LUA_REGISTRYINDEX);
            ffi::lua_pushinteger(lua, place.into());
        })
    }
}
