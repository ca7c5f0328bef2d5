//! Lua's own functions, behind a look at their arguments.
//!
//! Lua 5.1 comes unpatched. What is known to break it is refused here, before its own function, which is called in the same frame so that
//! its errors name what they always named:
//!
//! | function | what is refused |
//! |---|---|
//! | `unpack` | more results than there is room for: its arithmetic overflows (CVE-2025-46817) |
//! | `string.find` and kin | patterns so long that matching them takes the thread's stack |
//! | `loadstring` | what the compiler has made: it can be forged to break the interpreter |
//!
//! The others see through the empty tables that stand before what must not be changed (`sandbox.lua`): their first upvalue says what lies
//! behind which.

use std::ffi::{CStr, c_int};

use super::stack::Kind;
use super::{Natives, Stack, natives};

/// Matching recurses once for each `?`, `*`, `+` and `-` of a pattern.
const REPETITIONS_MAX: usize = 2_000;

const READONLY: &str = "Attempt to modify a readonly table";

/// Functions that look, and then call the function of Lua that is their first upvalue.
const GUARDED: Natives = natives![unpack, find, r#match, gmatch, gsub, xpcall, load];
/// The same; their second upvalue is the table of what lies behind which.
const SEEING: Natives = natives![rawget, rawset, getmetatable, setmetatable, next, insert, foreach];

/// Takes a table of Lua's functions by name and the table of what lies behind which; returns a table of functions.
pub(super) fn guard(stack: &Stack) -> c_int {
    stack.set_top(2);
    stack.push_table();
    for (name, function) in GUARDED.iter().chain(SEEING) {
        let name = name.trim_start_matches("r#");
        stack.push_named(1, name);
        stack.push_copy(2);
        stack.push_function(*function, 2);
        stack.set_named(3, name);
    }
    // `pairs` hands out Lua's own `next`, which gets what lies behind.
    stack.push_named(1, "next");
    stack.push_copy(2);
    stack.push_function(PAIRS[0].1, 2);
    stack.set_named(3, "pairs");
    1
}

const PAIRS: Natives = natives![pairs];

/// Calls Lua's own function in this frame.
fn own(stack: &Stack) -> c_int {
    stack.call_upvalue_here(1)
}

/// Whether the first argument is an empty table that stands before another, which is pushed then.
fn push_behind(stack: &Stack) -> bool {
    if stack.kind(1) != Kind::Table {
        return false;
    }
    stack.push_copy(1);
    stack.push_field(Stack::upvalue(2));
    let found = stack.kind(-1) == Kind::Table;
    if !found {
        stack.pop(1);
    }
    found
}

/// What lies behind takes the place of the first argument.
fn see_through(stack: &Stack) {
    if push_behind(stack) {
        stack.replace(1);
    }
}

fn refuse_readonly(stack: &Stack) {
    if push_behind(stack) {
        stack.fail_plainly(READONLY);
    }
}

fn rawget(stack: &Stack) -> c_int {
    see_through(stack);
    own(stack)
}

fn next(stack: &Stack) -> c_int {
    see_through(stack);
    own(stack)
}

fn foreach(stack: &Stack) -> c_int {
    see_through(stack);
    own(stack)
}

fn pairs(stack: &Stack) -> c_int {
    stack.check_table(1);
    see_through(stack);
    stack.set_top(1);
    stack.push_copy(Stack::upvalue(1));
    stack.insert(1);
    stack.push_nil();
    3
}

fn rawset(stack: &Stack) -> c_int {
    refuse_readonly(stack);
    own(stack)
}

/// What stands before a table has no metatable that a script could see, but for the globals, which alone have a `_G`.
fn getmetatable(stack: &Stack) -> c_int {
    let results = own(stack);
    if push_behind(stack) {
        stack.push_string(b"_G");
        stack.push_field(-2);
        if stack.kind(-1) == Kind::Nil {
            return 1;
        }
        stack.pop(2);
    }
    results
}

fn setmetatable(stack: &Stack) -> c_int {
    refuse_readonly(stack);
    own(stack)
}

fn insert(stack: &Stack) -> c_int {
    refuse_readonly(stack);
    own(stack)
}

fn unpack(stack: &Stack) -> c_int {
    // As Lua takes them: C's int.
    let first = stack.integer_or(2, 1) as i32;
    let last = match stack.kind(3) {
        Kind::None | Kind::Nil if stack.kind(1) == Kind::Table => stack.length(1) as i32,
        Kind::None | Kind::Nil => return own(stack),
        _ => stack.check_integer(3) as i32,
    };
    let count = i64::from(last) - i64::from(first) + 1;
    if count > i64::from(c_int::MAX) || (count > 0 && !stack.reserve(count as usize)) {
        stack.check_table(1);
        stack.fail(format_args!("too many results to unpack"));
    }
    own(stack)
}

fn check_pattern(stack: &Stack) {
    if stack.kind(2) != Kind::String {
        return;
    }
    let pattern = stack.string(2);
    let repeats = |byte: &&u8| matches!(byte, b'?' | b'*' | b'+' | b'-');
    if pattern.len() > REPETITIONS_MAX && pattern.iter().filter(repeats).count() > REPETITIONS_MAX {
        stack.fail(format_args!("pattern too complex"));
    }
}

fn find(stack: &Stack) -> c_int {
    // Without magic characters if the fourth argument says so.
    if !stack.boolean(4) {
        check_pattern(stack);
    }
    own(stack)
}

fn r#match(stack: &Stack) -> c_int {
    check_pattern(stack);
    own(stack)
}

fn gmatch(stack: &Stack) -> c_int {
    check_pattern(stack);
    own(stack)
}

fn gsub(stack: &Stack) -> c_int {
    check_pattern(stack);
    own(stack)
}

/// The upvalue is in Lua.
fn xpcall(stack: &Stack) -> c_int {
    if stack.top() < 2 {
        stack.fail_argument(2, format_args!("value expected"));
    }
    stack.call_upvalue(1)
}

/// The upvalue is in Lua.
fn load(stack: &Stack) -> c_int {
    stack.check_function(1);
    stack.call_upvalue(1)
}

// ---------------------------------------------------------------------------------------------------------------------

const LOADSTRING: Natives = natives![loadstring];

/// Takes Lua's `loadstring` and the environment of what it makes; returns the guarded one.
pub(super) fn guard_loadstring(stack: &Stack) -> c_int {
    stack.set_top(2);
    stack.push_function(LOADSTRING[0].1, 2);
    1
}

fn loadstring(stack: &Stack) -> c_int {
    if stack.check_string(1).first() == Some(&27) {
        stack.push_nil();
        stack.push_string(b"bytecode is not loaded");
        return 2;
    }
    let results = own(stack);
    if results == 1 {
        stack.push_copy(Stack::upvalue(2));
        stack.set_environment(-2);
    }
    results
}

// ---------------------------------------------------------------------------------------------------------------------

/// `collectgarbage`. The collector cannot be switched off, nor its pace changed, for those who come after.
const COLLECTGARBAGE: Natives = natives![collectgarbage];

/// Takes Lua's `collectgarbage`, returns the guarded one.
pub(super) fn guard_collectgarbage(stack: &Stack) -> c_int {
    stack.set_top(1);
    stack.push_function(COLLECTGARBAGE[0].1, 1);
    1
}

fn collectgarbage(stack: &Stack) -> c_int {
    const KNOWN: &[&CStr] = &[c"collect", c"count", c"step", c"stop", c"restart", c"setpause", c"setstepmul"];
    let wanted = if matches!(stack.kind(1), Kind::None | Kind::Nil) { 0 } else { stack.check_option(1, KNOWN) };
    match wanted {
        0..=2 => own(stack),
        3 | 4 => {
            stack.push_number(0.0);
            1
        }
        _ => {
            // What Lua begins with.
            stack.push_number(200.0);
            1
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------

const RANDOM: Natives = natives![random, randomseed];

/// The linear congruential generator of POSIX (`lrand48`): the same numbers on every machine.
#[derive(Clone, Copy)]
struct Generator(u64);

/// What `lrand48` begins with before anybody has sown a seed. As observed in Redis 8.2, the sequence goes on from script to script.
const UNSEEDED: Generator = Generator(0x1234_ABCD_330E);

fn seeded(seed: i32) -> Generator {
    Generator((u64::from(seed as u32) << 16) + 0x330E)
}

/// Pushes a table of `random` and `randomseed`, with a generator of their own.
pub(super) fn push_random(stack: &Stack) {
    stack.push_userdata(UNSEEDED);
    stack.push_table();
    stack.set_functions(RANDOM, 1);
    stack.remove(-2);
}

#[expect(
    clippy::mut_from_ref,
    reason = "what it borrows is the interpreter's own, and a C function of Lua is alone with it"
)]
fn generator(stack: &Stack) -> &mut Generator {
    // SAFETY: the functions here were made with a userdata of this type by `push_random`, which Lua aligns for any number, and do not nest.
    unsafe { &mut *stack.light_userdata(Stack::upvalue(1)).cast() }
}

fn random(stack: &Stack) -> c_int {
    let Generator(state) = generator(stack);
    *state = (0x5_DEEC_E66D_u64.wrapping_mul(*state).wrapping_add(0xB)) & ((1 << 48) - 1);
    let fraction = ((*state >> 17) % 0x7fff_ffff) as f64 / f64::from(0x7fff_ffff);
    let empty = |argument| -> ! { stack.fail_argument(argument, format_args!("interval is empty")) };
    // As Lua takes them: C's int.
    match stack.top() {
        0 => stack.push_number(fraction),
        1 => {
            let high = stack.check_integer(1) as i32;
            if high < 1 {
                empty(1);
            }
            stack.push_number((fraction * f64::from(high)).floor() + 1.0);
        }
        2 => {
            let (low, high) = (stack.check_integer(1) as i32, stack.check_integer(2) as i32);
            if low > high {
                empty(2);
            }
            stack.push_number((fraction * f64::from(high.wrapping_sub(low).wrapping_add(1))).floor() + f64::from(low));
        }
        _ => stack.fail(format_args!("wrong number of arguments")),
    }
    1
}

fn randomseed(stack: &Stack) -> c_int {
    *generator(stack) = seeded(stack.check_integer(1) as i32);
    0
}
