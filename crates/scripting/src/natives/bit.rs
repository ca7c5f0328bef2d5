//! `bit`: operations on 32-bit integers.

use std::ffi::c_int;
use std::io::Write as _;

use super::{Natives, Stack, natives};

const FUNCTIONS: Natives = natives![tobit, bnot, band, bor, bxor, lshift, rshift, arshift, rol, ror, bswap, tohex];

pub(super) fn open(stack: &Stack) {
    stack.push_table();
    stack.set_functions(FUNCTIONS, 0);
}

/// The lower 32 bits of the integer nearest to the number. With 1.5 * 2^52 added they are the lower bits of the sum: so Lua BitOp
/// defines the result for what is no integer or beyond 2^51.
fn argument(stack: &Stack, index: c_int) -> u32 {
    const TO_LOWER_BITS: f64 = 6_755_399_441_055_744.0;
    (stack.check_number(index) + TO_LOWER_BITS).to_bits() as u32
}

fn reply(stack: &Stack, bits: u32) -> c_int {
    stack.push_number(f64::from(bits as i32));
    1
}

fn tobit(stack: &Stack) -> c_int {
    reply(stack, argument(stack, 1))
}

fn bnot(stack: &Stack) -> c_int {
    reply(stack, !argument(stack, 1))
}

fn bswap(stack: &Stack) -> c_int {
    reply(stack, argument(stack, 1).swap_bytes())
}

fn fold(stack: &Stack, operation: impl Fn(u32, u32) -> u32) -> c_int {
    let mut bits = argument(stack, 1);
    for index in 2..=stack.top() {
        bits = operation(bits, argument(stack, index));
    }
    reply(stack, bits)
}

fn band(stack: &Stack) -> c_int {
    fold(stack, |left, right| left & right)
}

fn bor(stack: &Stack) -> c_int {
    fold(stack, |left, right| left | right)
}

fn bxor(stack: &Stack) -> c_int {
    fold(stack, |left, right| left ^ right)
}

fn shift(stack: &Stack, operation: impl Fn(u32, u32) -> u32) -> c_int {
    let bits = argument(stack, 1);
    reply(stack, operation(bits, argument(stack, 2) & 31))
}

fn lshift(stack: &Stack) -> c_int {
    shift(stack, |bits, by| bits << by)
}

fn rshift(stack: &Stack) -> c_int {
    shift(stack, |bits, by| bits >> by)
}

fn arshift(stack: &Stack) -> c_int {
    shift(stack, |bits, by| (bits as i32 >> by) as u32)
}

fn rol(stack: &Stack) -> c_int {
    shift(stack, u32::rotate_left)
}

fn ror(stack: &Stack) -> c_int {
    shift(stack, u32::rotate_right)
}

/// So many of the lower digits, in capitals if negative. At most eight: a missing bound there was CVE-2024-31449.
fn tohex(stack: &Stack) -> c_int {
    let bits = argument(stack, 1);
    let wanted = if stack.top() < 2 { 8 } else { argument(stack, 2) as i32 };
    let digits = wanted.unsigned_abs().min(8) as usize;
    let mut text = [0; 8];
    let mut room = &mut text[..];
    let written = if wanted < 0 { write!(room, "{bits:08X}") } else { write!(room, "{bits:08x}") };
    debug_assert!(written.is_ok(), "eight digits fit");
    stack.push_string(&text[8 - digits..]);
    1
}
