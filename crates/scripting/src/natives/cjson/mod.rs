//! `cjson`: values as JSON.
//!
//! What it takes and writes is what Lua CJSON 2.1 does: numbers of 14 digits; a table is an array if its keys are positive integers and
//! not too far apart, an empty one is an object; `/` is escaped; no encoding of strings is checked.

mod decode;
mod encode;
mod number;

use std::ffi::{CStr, c_int};

use super::stack::Kind;
use super::{Natives, Stack, natives};

const FUNCTIONS: Natives = natives![
    encode,
    decode,
    encode_sparse_array,
    encode_max_depth,
    decode_max_depth,
    encode_number_precision,
    encode_keep_buffer,
    encode_invalid_numbers,
    decode_invalid_numbers,
    new,
];

use decode::decode;
use encode::encode;

/// What the functions of all instances gather in.
#[derive(Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    encoding: Vec<encode::Open>,
    decoding: Vec<decode::Open>,
}

/// What to do with NaN and the infinities.
#[derive(Clone, Copy, PartialEq, Eq)]
enum InvalidNumbers {
    Refused,
    Taken,
    /// Written as `null`.
    Null,
}

/// The settings of an instance. They hold until they are changed, also for other scripts.
#[derive(Clone, Copy)]
struct Settings {
    sparse_convert: bool,
    sparse_ratio: i32,
    sparse_safe: i32,
    encode_depth_max: i32,
    decode_depth_max: i32,
    precision: i32,
    keep_buffer: bool,
    encode_invalid: InvalidNumbers,
    decode_invalid: InvalidNumbers,
}

const DEFAULT: Settings = Settings {
    sparse_convert: false,
    sparse_ratio: 2,
    sparse_safe: 10,
    encode_depth_max: 1000,
    decode_depth_max: 1000,
    precision: 14,
    keep_buffer: true,
    encode_invalid: InvalidNumbers::Refused,
    decode_invalid: InvalidNumbers::Taken,
};

/// Pushes an instance.
pub(super) fn open(stack: &Stack, scratch: *mut Scratch) {
    stack.push_light_userdata(scratch.cast());
    push_instance(stack);
    stack.remove(-2);
}

/// The same for a scratch that is on top of the stack.
fn push_instance(stack: &Stack) {
    stack.push_userdata(DEFAULT);
    stack.push_table();
    // The functions want scratch and settings; the table is between them and the top.
    for (name, function) in FUNCTIONS {
        stack.push_copy(-3);
        stack.push_copy(-3);
        stack.push_function(*function, 2);
        stack.set_named(-2, name);
    }
    stack.push_light_userdata(std::ptr::null_mut());
    stack.set_named(-2, "null");
    stack.push_string(b"cjson");
    stack.set_named(-2, "_NAME");
    stack.push_string(b"2.1.0");
    stack.set_named(-2, "_VERSION");
    stack.remove(-2);
}

#[expect(
    clippy::mut_from_ref,
    reason = "what it borrows is the interpreter's own, and a C function of Lua is alone with it"
)]
fn scratch(stack: &Stack) -> &mut Scratch {
    // SAFETY: the functions here were made with this pointer by `push_instance`, and do not nest.
    unsafe { &mut *stack.light_userdata(Stack::upvalue(1)).cast() }
}

#[expect(
    clippy::mut_from_ref,
    reason = "what it borrows is the interpreter's own, and a C function of Lua is alone with it"
)]
fn settings(stack: &Stack) -> &mut Settings {
    // SAFETY: the functions here were made with a userdata of this type by `push_instance`. It belongs to the function that is called,
    // Lua aligns it for any number, and the functions do not nest.
    unsafe { &mut *stack.light_userdata(Stack::upvalue(2)).cast() }
}

fn new(stack: &Stack) -> c_int {
    stack.push_copy(Stack::upvalue(1));
    push_instance(stack);
    1
}

// ---------------------------------------------------------------------------------------------------------------------

/// At most so many arguments; those that are missing are nil.
fn up_to(stack: &Stack, arguments: c_int) {
    if stack.top() > arguments {
        stack.fail_argument(arguments + 1, format_args!("found too many arguments"));
    }
    stack.set_top(arguments);
}

/// Sets an integer if one is given, and returns what it is.
fn integer_setting(stack: &Stack, argument: c_int, setting: &mut i32, least: i32, most: i32) -> c_int {
    if stack.kind(argument) != Kind::Nil {
        let value = stack.check_integer(argument) as i32;
        if !(least..=most).contains(&value) {
            stack.fail_argument(1, format_args!("expected integer between {least} and {most}"));
        }
        *setting = value;
    }
    stack.push_number((*setting).into());
    1
}

/// The index of a word if one is given, or a boolean, which is the first or second.
fn word_setting(stack: &Stack, argument: c_int, words: &'static [&'static CStr]) -> Option<usize> {
    match stack.kind(argument) {
        Kind::Nil => None,
        Kind::Boolean => Some(stack.boolean(argument).into()),
        _ => Some(stack.check_option(argument, words)),
    }
}

const SWITCH: &[&CStr] = &[c"off", c"on"];

fn switch_setting(stack: &Stack, argument: c_int, setting: &mut bool) -> c_int {
    if let Some(index) = word_setting(stack, argument, SWITCH) {
        *setting = index == 1;
    }
    stack.push_boolean(*setting);
    1
}

fn invalid_numbers(stack: &Stack, setting: &mut InvalidNumbers, words: &'static [&'static CStr]) -> c_int {
    up_to(stack, 1);
    match word_setting(stack, 1, words) {
        None => {}
        Some(0) => *setting = InvalidNumbers::Refused,
        Some(1) => *setting = InvalidNumbers::Taken,
        Some(_) => *setting = InvalidNumbers::Null,
    }
    match setting {
        InvalidNumbers::Refused => stack.push_boolean(false),
        InvalidNumbers::Taken => stack.push_boolean(true),
        InvalidNumbers::Null => stack.push_string(b"null"),
    }
    1
}

fn encode_sparse_array(stack: &Stack) -> c_int {
    let settings = settings(stack);
    up_to(stack, 3);
    switch_setting(stack, 1, &mut settings.sparse_convert)
        + integer_setting(stack, 2, &mut settings.sparse_ratio, 0, i32::MAX)
        + integer_setting(stack, 3, &mut settings.sparse_safe, 0, i32::MAX)
}

fn encode_max_depth(stack: &Stack) -> c_int {
    up_to(stack, 1);
    integer_setting(stack, 1, &mut settings(stack).encode_depth_max, 1, i32::MAX)
}

fn decode_max_depth(stack: &Stack) -> c_int {
    up_to(stack, 1);
    integer_setting(stack, 1, &mut settings(stack).decode_depth_max, 1, i32::MAX)
}

fn encode_number_precision(stack: &Stack) -> c_int {
    up_to(stack, 1);
    integer_setting(stack, 1, &mut settings(stack).precision, 1, 14)
}

/// The buffer belongs to all instances here: the setting is remembered, and acts in nothing that a script could see.
fn encode_keep_buffer(stack: &Stack) -> c_int {
    up_to(stack, 1);
    switch_setting(stack, 1, &mut settings(stack).keep_buffer)
}

fn encode_invalid_numbers(stack: &Stack) -> c_int {
    invalid_numbers(stack, &mut settings(stack).encode_invalid, &[c"off", c"on", c"null"])
}

fn decode_invalid_numbers(stack: &Stack) -> c_int {
    invalid_numbers(stack, &mut settings(stack).decode_invalid, SWITCH)
}
