//! The libraries that scripts find beside Lua's own: `bit`, `cjson`, `cmsgpack`, `struct`; and some of Lua's own functions, guarded
//! ([`base`]).
//!
//! Their functions are C functions of Lua, written in Rust over [`Stack`]: they are called as Lua's own are, so that texts of
//! errors name function, argument and line as those do, and Lua's own bounds (8,000 places a function) are theirs. What they do in
//! detail was observed on Redis 8.2 and is held beside it by `crates/robustness/tests/scripts.rs`.
//!
//! None of them recurses, and what they gather outside Lua's memory is bounded by [`GATHERED_BYTES_MAX`].

mod base;
mod bit;
mod cjson;
mod cmsgpack;
mod stack;
mod structs;

use std::ptr::NonNull;

use mlua::{Lua, Result, Table, ffi};

pub(crate) use stack::Stack;

/// A text that a script makes with one call is no longer than a string of the server can be.
const GATHERED_BYTES_MAX: usize = 512 * 1024 * 1024;

/// A buffer that was larger is not kept for the next call.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// A function and its name: `natives![pack, unpack]`.
macro_rules! natives {
    ($($function:ident),* $(,)?) => {
        &[$({
            unsafe extern "C-unwind" fn enter(state: *mut mlua::ffi::lua_State) -> std::ffi::c_int {
                // SAFETY: Lua calls this with its own state; the function keeps to the rule of `Stack`.
                $function(&unsafe { $crate::natives::Stack::of_call(state) })
            }
            (stringify!($function), enter as mlua::ffi::lua_CFunction)
        }),*]
    };
}
pub(crate) use natives;

/// Functions by their names.
pub(crate) type Natives = &'static [(&'static str, ffi::lua_CFunction)];

/// What the functions of one interpreter gather in.
#[derive(Default)]
struct Buffers {
    cjson: cjson::Scratch,
    cmsgpack: cmsgpack::Scratch,
    bytes: Vec<u8>,
}

/// The owner of these buffers. They lie still, and must outlive the interpreter.
pub(crate) struct Scratch(NonNull<Buffers>);

// SAFETY: it owns what it points to.
unsafe impl Send for Scratch {}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: made by `Box::leak`; whoever has it drops the interpreter first.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// The libraries by their names.
///
/// # Errors
/// No memory.
///
/// # Safety
/// The scratch is dropped behind the interpreter.
pub(crate) unsafe fn libraries(lua: &Lua) -> Result<(Table, Scratch)> {
    let all = lua.create_table()?;
    let owner = Scratch(NonNull::from(Box::leak(Box::<Buffers>::default())));
    let scratch = owner.0.as_ptr();
    // SAFETY: the closures put together what `Stack` offers, and own nothing while they do.
    unsafe {
        all.raw_set("bit", lua.exec_raw::<Table>((), |state| bit::open(&Stack::of_call(state)))?)?;
        all.raw_set(
            "struct",
            lua.exec_raw::<Table>((), |state| structs::open(&Stack::of_call(state), &raw mut (*scratch).bytes))?,
        )?;
        all.raw_set(
            "cmsgpack",
            lua.exec_raw::<Table>((), |state| cmsgpack::open(&Stack::of_call(state), &raw mut (*scratch).cmsgpack))?,
        )?;
        all.raw_set(
            "cjson",
            lua.exec_raw::<Table>((), |state| cjson::open(&Stack::of_call(state), &raw mut (*scratch).cjson))?,
        )?;
    }
    Ok((all, owner))
}

/// For the sandbox: `guard`, `guard_loadstring`, `guard_collectgarbage`, and `random` with `randomseed`.
///
/// # Errors
/// No memory.
pub(crate) fn guards(lua: &Lua, host: &Table) -> Result<()> {
    use base::{guard, guard_collectgarbage, guard_loadstring};
    const GUARDS: Natives = natives![guard, guard_loadstring, guard_collectgarbage];
    for (name, function) in GUARDS {
        // SAFETY: they keep to the rule of `Stack`; the sandbox gives them what they say that they take.
        host.raw_set(*name, unsafe { lua.create_c_function(*function)? })?;
    }
    // SAFETY: the closure puts together what `Stack` offers, and owns nothing while it does.
    let random = unsafe { lua.exec_raw::<Table>((), |state| base::push_random(&Stack::of_call(state)))? };
    host.raw_set("random", random)
}

/// Empties a buffer for the next call.
fn empty<T>(buffer: &mut Vec<T>) {
    if buffer.capacity() * size_of::<T>() > KEPT_BYTES_MAX {
        *buffer = Vec::new();
    }
    buffer.clear();
}
