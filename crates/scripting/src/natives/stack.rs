//! A C function's view of Lua.
//!
//! ```text
//!  index   1 ... n          the arguments
//!          n + 1 ... top    what the function has pushed; -1 is the last of them
//!          upvalue(1) ...   what the function was made with
//! ```
//!
//! **The rule**: nearly every method can leave the function by an error of Lua, which takes the frames on its way without
//! dropping what they own. Whoever calls one owns nothing that must be dropped (no `Vec`, no `String`): what has to grow lies in the
//! interpreter's [`Scratch`](super::Scratch).

use std::ffi::{CStr, c_int, c_void};
use std::fmt;
use std::io::Write as _;
use std::marker::PhantomData;

use mlua::ffi;

/// One call of a C function.
pub(crate) struct Stack {
    state: *mut ffi::lua_State,
    /// It belongs to the call.
    _call: PhantomData<*mut ()>,
}

/// The kinds of values that the libraries tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Nil,
    Boolean,
    LightUserdata,
    Number,
    String,
    Table,
    Other,
}

/// Longer texts of errors are cut off.
const ERROR_BYTES_MAX: usize = 1000;

// SAFETY of all blocks below: `state` is the state of a call that goes on (`of_call`), indices are checked by Lua or lie within what
// the caller has pushed and `reserve`d beyond the 20 places that each call has, and errors leave by way of frames that keep the rule.
#[expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all of them, above")]
impl Stack {
    /// # Safety
    /// Called by Lua with this state, and only while that call lasts. Its frames keep the rule of this module.
    pub unsafe fn of_call(state: *mut ffi::lua_State) -> Stack {
        Stack { state, _call: PhantomData }
    }

    pub fn upvalue(index: c_int) -> c_int {
        ffi::lua_upvalueindex(index)
    }

    // What is there.

    pub fn top(&self) -> c_int {
        unsafe { ffi::lua_gettop(self.state) }
    }

    pub fn kind(&self, index: c_int) -> Kind {
        match unsafe { ffi::lua_type(self.state, index) } {
            ffi::LUA_TNONE => Kind::None,
            ffi::LUA_TNIL => Kind::Nil,
            ffi::LUA_TBOOLEAN => Kind::Boolean,
            ffi::LUA_TLIGHTUSERDATA => Kind::LightUserdata,
            ffi::LUA_TNUMBER => Kind::Number,
            ffi::LUA_TSTRING => Kind::String,
            ffi::LUA_TTABLE => Kind::Table,
            _ => Kind::Other,
        }
    }

    /// Lua's name for the kind.
    pub fn kind_name(&self, index: c_int) -> &'static str {
        // The names are constants of the interpreter.
        let name: &'static CStr =
            unsafe { CStr::from_ptr(ffi::lua_typename(self.state, ffi::lua_type(self.state, index))) };
        name.to_str().unwrap_or("")
    }

    pub fn boolean(&self, index: c_int) -> bool {
        unsafe { ffi::lua_toboolean(self.state, index) != 0 }
    }

    /// A number, or a string that is one.
    pub fn number_like(&self, index: c_int) -> Option<f64> {
        unsafe { (ffi::lua_isnumber(self.state, index) != 0).then(|| ffi::lua_tonumber(self.state, index)) }
    }

    pub fn number(&self, index: c_int) -> f64 {
        debug_assert_eq!(self.kind(index), Kind::Number);
        unsafe { ffi::lua_tonumber(self.state, index) }
    }

    /// The bytes of a string. They stay as long as the string stays on the stack, or in a table or upvalue that does.
    pub fn string(&self, index: c_int) -> &[u8] {
        debug_assert_eq!(self.kind(index), Kind::String);
        self.bytes(index)
    }

    fn bytes(&self, index: c_int) -> &[u8] {
        let mut length = 0;
        unsafe {
            let start = ffi::lua_tolstring(self.state, index, &mut length);
            std::slice::from_raw_parts(start.cast(), length)
        }
    }

    pub fn light_userdata(&self, index: c_int) -> *mut c_void {
        unsafe { ffi::lua_touserdata(self.state, index) }
    }

    // Arguments, as Lua's own functions take them.

    /// A string, or a number, which becomes one.
    pub fn check_string(&self, argument: c_int) -> &[u8] {
        unsafe { ffi::luaL_checklstring(self.state, argument, std::ptr::null_mut()) };
        self.bytes(argument)
    }

    pub fn check_number(&self, argument: c_int) -> f64 {
        unsafe { ffi::luaL_checknumber(self.state, argument) }
    }

    /// What is beyond is the smallest integer, as on the processors that Redis runs on.
    pub fn check_integer(&self, argument: c_int) -> i64 {
        integer(self.check_number(argument))
    }

    pub fn integer_or(&self, argument: c_int, default: i64) -> i64 {
        match self.kind(argument) {
            Kind::None | Kind::Nil => default,
            _ => self.check_integer(argument),
        }
    }

    /// The index of one of these words, of which there are at most seven.
    pub fn check_option(&self, argument: c_int, words: &'static [&'static CStr]) -> usize {
        let mut pointers = [std::ptr::null(); 8];
        for (pointer, word) in pointers[..7].iter_mut().zip(words) {
            *pointer = word.as_ptr();
        }
        let index = unsafe { ffi::luaL_checkoption(self.state, argument, std::ptr::null(), pointers.as_ptr()) };
        index as usize
    }

    pub fn check_table(&self, argument: c_int) {
        unsafe { ffi::luaL_checktype(self.state, argument, ffi::LUA_TTABLE) }
    }

    pub fn check_function(&self, argument: c_int) {
        unsafe { ffi::luaL_checktype(self.state, argument, ffi::LUA_TFUNCTION) }
    }

    // Errors.

    /// Leaves with an error that says where it was called.
    pub fn fail(&self, text: fmt::Arguments<'_>) -> ! {
        let mut room = [0; ERROR_BYTES_MAX];
        let text = format(&mut room, text);
        unsafe {
            // The stack may be full.
            ffi::lua_settop(self.state, 0);
            ffi::luaL_where(self.state, 1);
            ffi::lua_pushlstring_(self.state, text.as_ptr().cast(), text.len());
            ffi::lua_concat(self.state, 2);
            ffi::lua_error(self.state)
        }
    }

    /// Leaves with an error about an argument.
    pub fn fail_argument(&self, argument: c_int, text: fmt::Arguments<'_>) -> ! {
        let mut room = [0; ERROR_BYTES_MAX + 1];
        let length = format(&mut room[..ERROR_BYTES_MAX], text).len();
        debug_assert_eq!(room[length], 0);
        unsafe {
            ffi::lua_settop(self.state, 0);
            ffi::luaL_argerror(self.state, argument, room.as_ptr().cast());
        }
        unreachable!("an error of an argument does not return")
    }

    /// Leaves as a script does that has no memory left.
    pub fn fail_for_memory(&self) -> ! {
        self.fail_plainly("not enough memory")
    }

    /// Leaves with an error that does not say where.
    pub fn fail_plainly(&self, text: &'static str) -> ! {
        unsafe {
            ffi::lua_settop(self.state, 0);
            ffi::lua_pushlstring_(self.state, text.as_ptr().cast(), text.len());
            ffi::lua_error(self.state)
        }
    }

    /// Whether there is room for so many values more. A function has 8,000 places.
    #[must_use]
    pub fn reserve(&self, count: usize) -> bool {
        let Ok(count) = c_int::try_from(count) else { return false };
        unsafe { ffi::lua_checkstack(self.state, count) != 0 }
    }

    /// Room for so many values more, or the error of Lua that says what for.
    pub fn reserve_for(&self, count: usize, what: &'static str) {
        if !self.reserve(count) {
            self.fail(format_args!("stack overflow ({what})"));
        }
    }

    // Making values.

    pub fn push_nil(&self) {
        unsafe { ffi::lua_pushnil(self.state) }
    }

    pub fn push_boolean(&self, value: bool) {
        unsafe { ffi::lua_pushboolean(self.state, value.into()) }
    }

    pub fn push_number(&self, number: f64) {
        unsafe { ffi::lua_pushnumber(self.state, number) }
    }

    pub fn push_string(&self, bytes: &[u8]) {
        unsafe { ffi::lua_pushlstring_(self.state, bytes.as_ptr().cast(), bytes.len()) }
    }

    pub fn push_light_userdata(&self, pointer: *mut c_void) {
        unsafe { ffi::lua_pushlightuserdata(self.state, pointer) }
    }

    /// Memory that belongs to Lua, for a value that needs no drop, and starts as this one.
    pub fn push_userdata<T: Copy>(&self, value: T) {
        unsafe { ffi::lua_newuserdata(self.state, size_of::<T>()).cast::<T>().write_unaligned(value) }
    }

    /// A function with the values on top of the stack, so many, as its upvalues; they are popped.
    pub fn push_function(&self, function: ffi::lua_CFunction, upvalues: c_int) {
        unsafe { ffi::lua_pushcclosure(self.state, function, upvalues) }
    }

    pub fn push_table(&self) {
        unsafe { ffi::lua_createtable(self.state, 0, 0) }
    }

    pub fn push_copy(&self, index: c_int) {
        unsafe { ffi::lua_pushvalue(self.state, index) }
    }

    pub fn pop(&self, count: c_int) {
        unsafe { ffi::lua_pop(self.state, count) }
    }

    pub fn remove(&self, index: c_int) {
        unsafe { ffi::lua_remove(self.state, index) }
    }

    pub fn insert(&self, index: c_int) {
        unsafe { ffi::lua_insert(self.state, index) }
    }

    /// Pops a value into this place.
    pub fn replace(&self, index: c_int) {
        unsafe { ffi::lua_replace(self.state, index) }
    }

    /// Pops a table, which becomes the environment of the function at `index`.
    pub fn set_environment(&self, index: c_int) {
        unsafe { ffi::lua_setfenv(self.state, index) };
    }

    /// Calls an upvalue with all arguments, and returns how many results are on the stack.
    pub fn call_upvalue(&self, upvalue: c_int) -> c_int {
        let arguments = self.top();
        self.push_copy(Stack::upvalue(upvalue));
        self.insert(1);
        unsafe { ffi::lua_call(self.state, arguments, ffi::LUA_MULTRET) };
        self.top()
    }

    /// Calls an upvalue that is a C function of Lua's own, without upvalues, as if it had been called instead of this one.
    pub fn call_upvalue_here(&self, upvalue: c_int) -> c_int {
        let function = unsafe { ffi::lua_tocfunction(self.state, Stack::upvalue(upvalue)) };
        let function = function.expect("the sandbox gives a C function");
        unsafe { function(self.state) }
    }

    /// Fills up with nil, or cuts off, to so many.
    pub fn set_top(&self, count: c_int) {
        unsafe { ffi::lua_settop(self.state, count) }
    }

    // Tables, without metamethods.

    /// Pops a key, and pushes the next key and its value unless there is none.
    pub fn next(&self, table: c_int) -> bool {
        unsafe { ffi::lua_next(self.state, table) != 0 }
    }

    /// The length of a table, as `#` says it.
    pub fn length(&self, table: c_int) -> usize {
        debug_assert_eq!(self.kind(table), Kind::Table);
        unsafe { ffi::lua_objlen(self.state, table) }
    }

    /// Pops a key, and pushes its value.
    pub fn push_field(&self, table: c_int) {
        unsafe { ffi::lua_rawget_(self.state, table) }
    }

    /// Pushes the value of this name. `table` counts from the first argument.
    pub fn push_named(&self, table: c_int, name: &str) {
        debug_assert!(table > 0);
        self.push_string(name.as_bytes());
        self.push_field(table);
    }

    pub fn push_element(&self, table: c_int, index: c_int) {
        unsafe { ffi::lua_rawgeti_(self.state, table, index) }
    }

    /// Pops an element into a list.
    pub fn set_element(&self, table: c_int, index: c_int) {
        unsafe { ffi::lua_rawseti_(self.state, table, index) }
    }

    /// Pops a value and the key below it. The key is neither nil nor NaN.
    pub fn set_field(&self, table: c_int) {
        unsafe { ffi::lua_rawset(self.state, table) }
    }

    /// Pops a value that gets this name.
    pub fn set_named(&self, table: c_int, name: &str) {
        self.push_string(name.as_bytes());
        self.insert(-2);
        let table = if table < 0 { table - 1 } else { table };
        self.set_field(table);
    }

    /// Puts functions into the table on top, each with copies of the `upvalues` values below it.
    pub fn set_functions(&self, natives: super::Natives, upvalues: c_int) {
        for (name, function) in natives {
            for _ in 0..upvalues {
                self.push_copy(-1 - upvalues);
            }
            self.push_function(*function, upvalues);
            self.set_named(-2, name);
        }
    }
}

/// What C's conversion does on the processors that Redis runs on.
pub(crate) fn integer(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) { number as i64 } else { i64::MIN }
}

/// The text, as far as there is room. Nothing to drop.
fn format<'a>(room: &'a mut [u8], text: fmt::Arguments<'_>) -> &'a [u8] {
    let whole = room.len();
    let mut rest = &mut *room;
    // It fails where the room ends: the text is cut off there.
    let _ = rest.write_fmt(text);
    let length = whole - rest.len();
    &room[..length]
}
