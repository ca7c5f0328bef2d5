//! `redis.call` and `redis.pcall`, and the values that travel between a script and the server in the shortest way.
//!
//! Written against Lua's own interface, because this is the inner loop of every script: arguments are read where Lua keeps them, and
//! a reply becomes Lua's values as it is parsed, with nothing in between.
//!
//! **The rule**: where Lua is out of memory, a function of its interface leaves by way of an error, and takes the frames on its way
//! without dropping what they own. So a function here either owns something that must be dropped or calls what can fail, never both.

use std::ffi::{c_int, c_void};
use std::slice;

use mlua::ffi;
use resp::{Proto, Reply};
use smallvec::SmallVec;

use crate::convert;
use crate::engine::State;

const NO_ARGUMENT: &str = "ERR Please specify at least one argument for this redis lib call";
pub const BAD_ARGUMENT: &str = "ERR Lua redis lib command arguments must be strings or integers";

/// Where the texts are that statuses and errors are known by: Lua looks for a text among all that it has, whenever it is given one.
#[derive(Clone, Copy)]
pub struct Tags {
    pub ok: c_int,
    pub err: c_int,
}

/// What tells a script's error that was counted when it happened from one of its own: where the script returns or raises it, it is not counted
/// again. A script may set it itself.
pub const COUNTED: &str = "ignore_error_stats_update";

/// The upvalues of [`call`] and [`pcall`].
mod upvalue {
    use std::ffi::c_int;

    use mlua::ffi::lua_upvalueindex;

    pub const STATE: c_int = lua_upvalueindex(1);
    pub const OK: c_int = lua_upvalueindex(2);
    pub const ERR: c_int = lua_upvalueindex(3);
    /// The status that most commands have.
    pub const STATUS_OK: c_int = lua_upvalueindex(4);
    pub const COUNT: c_int = 4;
}

/// `redis.call`: an error of the command is one of the script.
///
/// # Safety
/// For Lua, as [`push_command`] has made it.
pub unsafe extern "C-unwind" fn call(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: the caller's.
    unsafe { if command(lua) { 1 } else { ffi::lua_error(lua) } }
}

/// `redis.pcall`: returns the error.
///
/// # Safety
/// As [`call`].
pub unsafe extern "C-unwind" fn pcall(lua: *mut ffi::lua_State) -> c_int {
    // SAFETY: the caller's.
    unsafe { command(lua) };
    1
}

/// Runs the command on the stack, and leaves its reply there. False if that is an error.
unsafe fn command(lua: *mut ffi::lua_State) -> bool {
    // SAFETY: the upvalue is the engine's state, which lives for longer than the interpreter. Nobody else uses the state's reply:
    // between here and the end no other script's function runs.
    unsafe {
        let state = &*ffi::lua_touserdata(lua, upvalue::STATE).cast::<State>();
        let counted = ask(lua, state);
        let (bytes, length) = state.reply_bytes();
        let bytes = slice::from_raw_parts(bytes, length);
        let mut rest = bytes;
        push_value(lua, &mut rest);
        if bytes[0] != b'-' && bytes[0] != b'!' {
            return true;
        }
        if counted {
            push_text(lua, COUNTED.as_bytes());
            ffi::lua_pushboolean(lua, 1);
            ffi::lua_rawset(lua, -3);
        }
        false
    }
}

/// Has the reply written into the state. Returns whether its error, if it is one, has been counted. Calls nothing of Lua that fails.
unsafe fn ask(lua: *mut ffi::lua_State, state: &State) -> bool {
    /// Where an argument lies.
    enum Word {
        Lua(*const u8, usize),
        /// A number's text, in the state's buffer.
        Own(usize, usize),
    }
    // SAFETY: the strings stay where they are, since they stand on the stack; `lua_tolstring` of a string changes nothing. The host is
    // there while a script runs, and it is entered by one call at a time, like buffer and reply.
    unsafe {
        let (texts, reply) = state.call_buffers();
        texts.clear();
        reply.clear();
        reply.set_proto(if state.resp3() { Proto::Resp3 } else { Proto::Resp2 });
        let count = ffi::lua_gettop(lua);
        if count == 0 {
            reply.error(NO_ARGUMENT);
            return false;
        }
        let mut words = SmallVec::<[Word; 8]>::new();
        for index in 1..=count {
            words.push(match ffi::lua_type(lua, index) {
                ffi::LUA_TSTRING => {
                    let mut length = 0;
                    let start = ffi::lua_tolstring(lua, index, &mut length);
                    Word::Lua(start.cast(), length)
                }
                ffi::LUA_TNUMBER => {
                    let start = texts.len();
                    convert::write_number(ffi::lua_tonumber(lua, index), texts);
                    Word::Own(start, texts.len() - start)
                }
                _ => {
                    reply.error(BAD_ARGUMENT);
                    return false;
                }
            });
        }
        let args: SmallVec<[&[u8]; 8]> = words
            .iter()
            .map(|word| match *word {
                Word::Lua(start, length) => slice::from_raw_parts(start, length),
                Word::Own(start, length) => &texts[start..start + length],
            })
            .collect();
        state.host().call(&args, reply);
        state.flatten_reply();
        true
    }
}

/// Pushes a text.
///
/// # Safety
/// There is a free place on the stack. Owns nothing; fails without memory.
pub unsafe fn push_text(lua: *mut ffi::lua_State, text: &[u8]) {
    // SAFETY: the caller's.
    unsafe { ffi::lua_pushlstring(lua, text.as_ptr().cast(), text.len()) };
}

/// Pushes a list of texts. `length` of it in `texts`.
///
/// # Safety
/// As [`push_text`], with two free places.
pub unsafe fn push_texts(lua: *mut ffi::lua_State, texts: &[&[u8]]) {
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_createtable(lua, texts.len() as c_int, 0);
        for (index, text) in texts.iter().enumerate() {
            push_text(lua, text);
            ffi::lua_rawseti(lua, -2, index as ffi::lua_Integer + 1);
        }
    }
}

/// Pushes the first reply of `rest`, as a script sees it, and goes on behind it. What the server has written is whole.
unsafe fn push_value(lua: *mut ffi::lua_State, rest: &mut &[u8]) {
    let (kind, line) = take_line(rest);
    // SAFETY: places are asked for; owns nothing.
    unsafe {
        ffi::luaL_checkstack(lua, 6, c"a reply is too deep".as_ptr());
        match kind {
            b'$' => match length(line) {
                Some(length) => push_text(lua, take_bulk(rest, length)),
                None => ffi::lua_pushboolean(lua, 0),
            },
            b':' => ffi::lua_pushnumber(lua, integer(line) as f64),
            b'+' if line == b"OK" => {
                ffi::lua_createtable(lua, 0, 1);
                ffi::lua_pushvalue(lua, upvalue::OK);
                ffi::lua_pushvalue(lua, upvalue::STATUS_OK);
                ffi::lua_rawset(lua, -3);
            }
            b'+' => push_tagged_text(lua, upvalue::OK, line),
            b'-' => push_tagged_text(lua, upvalue::ERR, line),
            b'!' => push_tagged_text(lua, upvalue::ERR, take_bulk(rest, length(line).unwrap_or(0))),
            b'*' | b'>' => match length(line) {
                Some(length) => push_list(lua, rest, length),
                None => ffi::lua_pushboolean(lua, 0),
            },
            b'_' => ffi::lua_pushnil(lua),
            b'#' => ffi::lua_pushboolean(lua, c_int::from(line == b"t")),
            b',' => {
                ffi::lua_createtable(lua, 0, 1);
                push_text(lua, b"double");
                ffi::lua_pushnumber(lua, convert::double(line));
                ffi::lua_rawset(lua, -3);
            }
            b'(' => {
                ffi::lua_createtable(lua, 0, 1);
                push_text(lua, b"big_number");
                push_text(lua, line);
                ffi::lua_rawset(lua, -3);
            }
            b'=' => {
                let text = take_bulk(rest, length(line).unwrap_or(0));
                let (format, text) = text.split_at(text.len().min(4));
                ffi::lua_createtable(lua, 0, 1);
                push_text(lua, b"verbatim_string");
                ffi::lua_createtable(lua, 0, 2);
                push_text(lua, b"format");
                push_text(lua, &format[..format.len().min(3)]);
                ffi::lua_rawset(lua, -3);
                push_text(lua, b"string");
                push_text(lua, text);
                ffi::lua_rawset(lua, -3);
                ffi::lua_rawset(lua, -3);
            }
            b'%' => {
                ffi::lua_createtable(lua, 0, 1);
                push_text(lua, b"map");
                let pairs = length(line).unwrap_or(0);
                ffi::lua_createtable(lua, 0, pairs as c_int);
                for _ in 0..pairs {
                    push_value(lua, rest);
                    push_value(lua, rest);
                    ffi::lua_rawset(lua, -3);
                }
                ffi::lua_rawset(lua, -3);
            }
            b'~' => {
                ffi::lua_createtable(lua, 0, 1);
                push_text(lua, b"set");
                let elements = length(line).unwrap_or(0);
                ffi::lua_createtable(lua, 0, elements as c_int);
                for _ in 0..elements {
                    push_value(lua, rest);
                    ffi::lua_pushboolean(lua, 1);
                    ffi::lua_rawset(lua, -3);
                }
                ffi::lua_rawset(lua, -3);
            }
            b'|' => {
                // Scripts do not see what is said about a reply.
                for _ in 0..2 * length(line).unwrap_or(0) {
                    push_value(lua, rest);
                    ffi::lua_settop(lua, -2);
                }
                push_value(lua, rest);
            }
            _ => unreachable!("a command has replied with {kind}"),
        }
    }
}

unsafe fn push_list(lua: *mut ffi::lua_State, rest: &mut &[u8], length: usize) {
    // SAFETY: the caller has asked for the places.
    unsafe {
        ffi::lua_createtable(lua, length as c_int, 0);
        for index in 1..=length {
            push_value(lua, rest);
            ffi::lua_rawseti(lua, -2, index as ffi::lua_Integer);
        }
    }
}

/// `tag`: the index of the text that it is known by.
unsafe fn push_tagged_text(lua: *mut ffi::lua_State, tag: c_int, text: &[u8]) {
    // SAFETY: the caller has asked for the places.
    unsafe {
        ffi::lua_createtable(lua, 0, 1);
        ffi::lua_pushvalue(lua, tag);
        push_text(lua, text);
        ffi::lua_rawset(lua, -3);
    }
}

/// The type and the first line of a reply.
fn take_line<'a>(rest: &mut &'a [u8]) -> (u8, &'a [u8]) {
    let end = memchr::memchr(b'\r', rest).expect("a command's reply is whole");
    let (kind, line) = (rest[0], &rest[1..end]);
    *rest = &rest[end + 2..];
    (kind, line)
}

fn take_bulk<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let bulk = &rest[..length];
    *rest = &rest[length + 2..];
    bulk
}

fn integer(line: &[u8]) -> i64 {
    let (is_negative, digits) = match line {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    // Towards the negative: there is one more of them.
    let value = digits.iter().fold(0i64, |value, digit| value * 10 - i64::from(digit - b'0'));
    if is_negative { value } else { -value }
}

/// `None` for -1.
fn length(line: &[u8]) -> Option<usize> {
    usize::try_from(integer(line)).ok()
}

/// What a script returns, where it is no table but a status: anything else is left to [`convert::to_reply`]. False then.
///
/// # Safety
/// The value stands on top of the stack, and there are two free places. Owns nothing.
pub unsafe fn write_simple(lua: *mut ffi::lua_State, tags: Tags, resp3: bool, reply: &mut Reply) -> bool {
    // SAFETY: the caller's; a string stays where it is while it stands on the stack.
    unsafe {
        match ffi::lua_type(lua, -1) {
            ffi::LUA_TSTRING => reply.bulk(text_at(lua, -1)),
            ffi::LUA_TNUMBER => reply.int(convert::truncated(ffi::lua_tonumber(lua, -1))),
            ffi::LUA_TBOOLEAN if resp3 => reply.boolean(ffi::lua_toboolean(lua, -1) != 0),
            ffi::LUA_TBOOLEAN if ffi::lua_toboolean(lua, -1) != 0 => reply.int(1),
            ffi::LUA_TTABLE => {
                ffi::lua_pushvalue(lua, tags.err);
                ffi::lua_rawget(lua, -2);
                if ffi::lua_type(lua, -1) == ffi::LUA_TSTRING {
                    ffi::lua_settop(lua, -2);
                    return false;
                }
                ffi::lua_pushvalue(lua, tags.ok);
                ffi::lua_rawget(lua, -3);
                if ffi::lua_type(lua, -1) == ffi::LUA_TSTRING {
                    convert::write_status(text_at(lua, -1), reply);
                    return true;
                }
                ffi::lua_settop(lua, -3);
                return false;
            }
            _ => reply.null(),
        }
        true
    }
}

/// The string at an index.
///
/// # Safety
/// There is one, and it is used only while it stands there.
pub unsafe fn text_at<'a>(lua: *mut ffi::lua_State, index: c_int) -> &'a [u8] {
    let mut length = 0;
    // SAFETY: the caller's.
    unsafe {
        let start = ffi::lua_tolstring(lua, index, &mut length);
        slice::from_raw_parts(start.cast(), length)
    }
}

/// [`call`] or [`pcall`], with the state and the texts that they need.
///
/// # Safety
/// There are so many free places as they have upvalues. Owns nothing; fails without memory.
pub unsafe fn push_command(lua: *mut ffi::lua_State, f: ffi::lua_CFunction, state: *const State) {
    // SAFETY: the caller's.
    unsafe {
        ffi::lua_pushlightuserdata(lua, state.cast_mut().cast::<c_void>());
        for text in [&b"ok"[..], b"err", b"OK"] {
            push_text(lua, text);
        }
        ffi::lua_pushcclosure(lua, f, upvalue::COUNT);
    }
}
