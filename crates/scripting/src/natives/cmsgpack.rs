//! `cmsgpack`: values as MessagePack (<https://msgpack.org>), in the version of 2013 without extensions and binaries.
//!
//! Unlike the format's other users, it packs a number as an integer wherever it is one, and as a float of 32 bits wherever that is exact;
//! an empty table is an array; what MessagePack does not know is nil.

use std::ffi::c_int;

use super::stack::{Kind, integer};
use super::{GATHERED_BYTES_MAX, Natives, Stack, empty, natives};

const FUNCTIONS: Natives = natives![pack, unpack, unpack_one, unpack_limit];

/// Tables within so many tables are nil.
const DEPTH_MAX: usize = 16;

const TOO_MANY_RESULTS: &str = "too many return values at once; use unpack_one or unpack_limit instead.";

/// Tables that are not finished. Their values are on Lua's stack.
#[derive(Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
    packing: Vec<Packing>,
    unpacking: Vec<Unpacking>,
}

enum Packing {
    /// On the stack: the table. `next` of its elements are packed.
    Array { next: c_int, length: c_int },
    /// On the stack: the table and the last key, and the value while the key is packed.
    Map { value_waits: bool },
}

enum Unpacking {
    /// On the stack: the table, with `next` elements.
    Array { next: c_int, length: u32 },
    /// On the stack: the table and, unless it is awaited, a key.
    Map { awaits_key: bool, pairs: u32 },
}

pub(super) fn open(stack: &Stack, scratch: *mut Scratch) {
    stack.push_light_userdata(scratch.cast());
    stack.push_table();
    stack.set_functions(FUNCTIONS, 1);
    for (name, value) in [
        ("_NAME", "cmsgpack"),
        ("_VERSION", "lua-cmsgpack 0.4.0"),
        ("_COPYRIGHT", "Copyright (C) 2012, Salvatore Sanfilippo"),
        ("_DESCRIPTION", "MessagePack C implementation for Lua"),
    ] {
        stack.push_string(value.as_bytes());
        stack.set_named(-2, name);
    }
    stack.remove(-2);
}

#[expect(
    clippy::mut_from_ref,
    reason = "what it borrows is the interpreter's own, and a C function of Lua is alone with it"
)]
fn scratch(stack: &Stack) -> &mut Scratch {
    // SAFETY: the functions here were made with this pointer by `open`, and do not nest.
    unsafe { &mut *stack.light_userdata(Stack::upvalue(1)).cast() }
}

// ---------------------------------------------------------------------------------------------------------------------

/// All arguments, one behind the other.
fn pack(stack: &Stack) -> c_int {
    let count = stack.top();
    if count == 0 {
        stack.fail_argument(0, format_args!("MessagePack pack needs input."));
    }
    // What nested tables need (four places each) is less than what Redis asks for where there are many arguments.
    if !stack.reserve((count as usize).max(5 * DEPTH_MAX)) {
        stack.fail_argument(0, format_args!("Too many arguments for MessagePack pack."));
    }
    let Scratch { bytes: out, packing: open, .. } = scratch(stack);
    empty(out);
    empty(open);
    for argument in 1..=count {
        stack.push_copy(argument);
        pack_value(stack, out, open);
        while let Some(table) = open.last_mut() {
            match table {
                Packing::Array { next, length } if next == length => {
                    stack.pop(1);
                    open.pop();
                    continue;
                }
                Packing::Array { next, .. } => {
                    *next += 1;
                    stack.push_element(-1, *next);
                }
                Packing::Map { value_waits } if *value_waits => *value_waits = false,
                Packing::Map { value_waits } if stack.next(-2) => {
                    *value_waits = true;
                    stack.push_copy(-2);
                }
                Packing::Map { .. } => {
                    stack.pop(1);
                    open.pop();
                    continue;
                }
            }
            pack_value(stack, out, open);
            if out.len() > GATHERED_BYTES_MAX {
                stack.fail_for_memory();
            }
        }
    }
    stack.push_string(out);
    1
}

/// Packs the value on top of the stack, and pops it. A table stays there, opened.
fn pack_value(stack: &Stack, out: &mut Vec<u8>, open: &mut Vec<Packing>) {
    match stack.kind(-1) {
        Kind::Boolean => out.push(if stack.boolean(-1) { 0xC3 } else { 0xC2 }),
        Kind::Number => pack_number(out, stack.number(-1)),
        Kind::String => {
            let text = stack.string(-1);
            match text.len() {
                length @ ..32 => out.push(0xA0 | length as u8),
                length @ ..=0xFF => out.extend_from_slice(&[0xD9, length as u8]),
                length => pack_length(out, 0xDA, length),
            }
            out.extend_from_slice(text);
        }
        Kind::Table if open.len() < DEPTH_MAX => return open_table(stack, out, open),
        _ => out.push(0xC0),
    }
    stack.pop(1);
}

fn pack_number(out: &mut Vec<u8>, number: f64) {
    let whole = integer(number);
    if whole as f64 != number {
        if f64::from(number as f32) == number {
            out.push(0xCA);
            out.extend_from_slice(&(number as f32).to_be_bytes());
        } else {
            out.push(0xCB);
            out.extend_from_slice(&number.to_be_bytes());
        }
        return;
    }
    let bytes = whole.to_be_bytes();
    let (code, length) = match whole {
        -32..=127 => return out.push(whole as u8),
        128..=0xFF => (0xCC, 1),
        0x100..=0xFFFF => (0xCD, 2),
        0x1_0000..=0xFFFF_FFFF => (0xCE, 4),
        0x1_0000_0000.. => (0xCF, 8),
        -0x80.. => (0xD0, 1),
        -0x8000.. => (0xD1, 2),
        -0x8000_0000.. => (0xD2, 4),
        _ => (0xD3, 8),
    };
    out.push(code);
    out.extend_from_slice(&bytes[8 - length..]);
}

/// A length of two bytes behind this code, or of four bytes behind the next.
fn pack_length(out: &mut Vec<u8>, code: u8, length: usize) {
    match u16::try_from(length) {
        Ok(length) => {
            out.push(code);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(code + 1);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

/// An array if its keys are 1 to their number, else a map.
fn open_table(stack: &Stack, out: &mut Vec<u8>, open: &mut Vec<Packing>) {
    let (mut count, mut greatest, mut is_array) = (0_usize, 0_i64, true);
    stack.push_nil();
    while stack.next(-2) {
        stack.pop(1);
        count += 1;
        let index = if stack.kind(-1) == Kind::Number { stack.number(-1) } else { 0.0 };
        is_array &= index > 0.0 && integer(index) as f64 == index;
        greatest = greatest.max(integer(index));
    }
    if is_array && greatest == count as i64 {
        match count {
            ..16 => out.push(0x90 | count as u8),
            _ => pack_length(out, 0xDC, count),
        }
        open.push(Packing::Array { next: 0, length: count as c_int });
    } else {
        match count {
            ..16 => out.push(0x80 | count as u8),
            _ => pack_length(out, 0xDE, count),
        }
        open.push(Packing::Map { value_waits: false });
        stack.push_nil();
    }
}

// ---------------------------------------------------------------------------------------------------------------------

/// All values.
fn unpack(stack: &Stack) -> c_int {
    stack.check_string(1);
    unpack_some(stack, 0, 0)
}

/// One value, behind where the next begins or -1: `(data, offset)`.
fn unpack_one(stack: &Stack) -> c_int {
    let offset = stack.integer_or(2, 0);
    stack.check_string(1);
    unpack_some(stack, 1, offset)
}

/// So many values, behind where the next begins or -1: `(data, limit, offset)`.
fn unpack_limit(stack: &Stack) -> c_int {
    let limit = stack.check_integer(2);
    let offset = stack.integer_or(3, 0);
    stack.check_string(1);
    unpack_some(stack, limit, offset)
}

/// The data on its way.
struct Input<'a> {
    stack: &'a Stack,
    data: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        match self.data[self.position..].get(..count) {
            Some(taken) => {
                self.position += count;
                taken
            }
            None => self.stack.fail(format_args!("Missing bytes in input.")),
        }
    }

    fn unsigned(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
    }

    fn signed(&mut self, bytes: usize) -> i64 {
        let unused = 64 - 8 * bytes;
        (self.unsigned(bytes) << unused) as i64 >> unused
    }
}

fn unpack_some(stack: &Stack, limit: i64, offset: i64) -> c_int {
    let data = stack.string(1);
    if limit < 0 || offset < 0 {
        // What it calls the limit is the length.
        let (offset, length) = (offset as i32, data.len());
        stack.fail(format_args!("Invalid request to unpack with offset of {offset} and limit of {length}."));
    }
    if offset as u64 > data.len() as u64 {
        let (offset, length) = (offset as i32, data.len());
        stack.fail(format_args!("Start offset {offset} greater than input length {length}."));
    }
    let all = limit == 0 && offset == 0;
    let open = &mut scratch(stack).unpacking;
    empty(open);
    let mut input = Input { stack, data, position: offset as usize };
    let mut results = 0;
    while input.position < data.len() && (all || i64::from(results) < limit) {
        unpack_value(stack, &mut input, open);
        results += 1;
    }
    if !all {
        stack.reserve_for(1, TOO_MANY_RESULTS);
        let next = if input.position == data.len() { -1.0 } else { input.position as f64 };
        stack.push_number(next);
        // It stands before the values.
        stack.insert(-1 - results);
        results += 1;
    }
    results
}

/// Pushes a whole value.
fn unpack_value(stack: &Stack, input: &mut Input<'_>, open: &mut Vec<Unpacking>) {
    loop {
        // The table that was just opened is empty, or a value is whole: it belongs to the table below.
        if !unpack_head(stack, input, open) {
            continue;
        }
        loop {
            match open.last_mut() {
                None => return,
                Some(Unpacking::Array { next, length }) => {
                    *next += 1;
                    stack.set_element(-2, *next);
                    if (*next as u32) < *length {
                        break;
                    }
                }
                Some(Unpacking::Map { awaits_key, .. }) if *awaits_key => {
                    *awaits_key = false;
                    break;
                }
                Some(Unpacking::Map { awaits_key, pairs }) => {
                    match stack.kind(-2) {
                        Kind::Nil => stack.fail_plainly("table index is nil"),
                        Kind::Number if stack.number(-2).is_nan() => stack.fail_plainly("table index is NaN"),
                        _ => stack.set_field(-3),
                    }
                    *awaits_key = true;
                    *pairs -= 1;
                    if *pairs > 0 {
                        break;
                    }
                }
            }
            open.pop();
        }
    }
}

/// Pushes a value; whether it is whole.
fn unpack_head(stack: &Stack, input: &mut Input<'_>, open: &mut Vec<Unpacking>) -> bool {
    stack.reserve_for(1, TOO_MANY_RESULTS);
    let code = input.take(1)[0];
    let text = |input: &mut Input<'_>, length: u64| stack.push_string(input.take(length as usize));
    match code {
        0x00..=0x7F => stack.push_number(code.into()),
        0xE0..=0xFF => stack.push_number((code as i8).into()),
        0xC0 => stack.push_nil(),
        0xC2 => stack.push_boolean(false),
        0xC3 => stack.push_boolean(true),
        0xCA => stack.push_number(f32::from_bits(input.unsigned(4) as u32).into()),
        0xCB => stack.push_number(f64::from_bits(input.unsigned(8))),
        0xCC..=0xCE => stack.push_number(input.unsigned(1 << (code - 0xCC)) as f64),
        // Read as a signed number, as observed.
        0xCF => stack.push_number(input.unsigned(8) as i64 as f64),
        0xD0..=0xD3 => stack.push_number(input.signed(1 << (code - 0xD0)) as f64),
        0xA0..=0xBF => text(input, u64::from(code & 0x1F)),
        0xD9..=0xDB => {
            let length = input.unsigned(1 << (code - 0xD9));
            text(input, length);
        }
        0x90..=0x9F => return open_array(stack, open, u32::from(code & 0x0F)),
        0xDC | 0xDD => {
            let length = input.unsigned(2 << (code - 0xDC));
            return open_array(stack, open, length as u32);
        }
        0x80..=0x8F => return open_map(stack, open, u32::from(code & 0x0F)),
        0xDE | 0xDF => {
            let pairs = input.unsigned(2 << (code - 0xDE));
            return open_map(stack, open, pairs as u32);
        }
        0xC1 | 0xC4..=0xC9 | 0xD4..=0xD8 => stack.fail(format_args!("Bad data format in input.")),
    }
    true
}

fn open_array(stack: &Stack, open: &mut Vec<Unpacking>, length: u32) -> bool {
    // Redis has an index beside each open array, and so ends at 4,000 of them.
    stack.reserve_for(2 + open.len(), "in function mp_decode_to_lua_array");
    stack.push_table();
    if length > 0 {
        open.push(Unpacking::Array { next: 0, length });
    }
    length == 0
}

fn open_map(stack: &Stack, open: &mut Vec<Unpacking>, pairs: u32) -> bool {
    stack.reserve_for(3, TOO_MANY_RESULTS);
    stack.push_table();
    if pairs > 0 {
        open.push(Unpacking::Map { awaits_key: true, pairs });
    }
    pairs == 0
}
