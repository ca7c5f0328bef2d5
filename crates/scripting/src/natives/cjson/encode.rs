//! Lua's values become JSON.

use std::ffi::c_int;

use super::super::stack::Kind;
use super::super::{GATHERED_BYTES_MAX, Stack, empty};
use super::number::write_number;
use super::{InvalidNumbers, Settings, scratch, settings};

/// A table that is not finished. It is on Lua's stack.
pub(super) enum Open {
    /// `written` of its elements.
    Array { written: c_int, length: c_int },
    /// The last key is on the stack too.
    Object { is_first: bool },
}

pub(super) fn encode(stack: &Stack) -> c_int {
    if stack.top() != 1 {
        stack.fail_argument(1, format_args!("expected 1 argument"));
    }
    let settings = &*settings(stack);
    let super::Scratch { bytes: out, encoding: open, .. } = scratch(stack);
    empty(out);
    empty(open);
    value(stack, settings, out, open);
    while let Some(table) = open.last_mut() {
        match table {
            Open::Array { written, length } if written == length => {
                out.push(b']');
                open.pop();
            }
            Open::Array { written, .. } => {
                if *written > 0 {
                    out.push(b',');
                }
                *written += 1;
                stack.push_element(-1, *written);
                value(stack, settings, out, open);
                continue;
            }
            Open::Object { is_first } if stack.next(-2) => {
                if !std::mem::take(is_first) {
                    out.push(b',');
                }
                key(stack, settings, out);
                value(stack, settings, out, open);
                continue;
            }
            Open::Object { .. } => {
                out.push(b'}');
                open.pop();
            }
        }
        // The first table is the argument, which stays.
        if !open.is_empty() {
            stack.pop(1);
        }
    }
    stack.push_string(out);
    1
}

fn refuse(stack: &Stack, index: c_int, why: &str) -> ! {
    stack.fail(format_args!("Cannot serialise {}: {why}", stack.kind_name(index)))
}

/// Writes the value on top of the stack, and pops it. A table stays there, opened.
fn value(stack: &Stack, settings: &Settings, out: &mut Vec<u8>, open: &mut Vec<Open>) {
    if out.len() > GATHERED_BYTES_MAX {
        stack.fail_for_memory();
    }
    match stack.kind(-1) {
        Kind::String => string(out, stack.string(-1)),
        Kind::Number => number(stack, settings, out, -1),
        Kind::Boolean if stack.boolean(-1) => out.extend_from_slice(b"true"),
        Kind::Boolean => out.extend_from_slice(b"false"),
        Kind::Nil => out.extend_from_slice(b"null"),
        Kind::LightUserdata if stack.light_userdata(-1).is_null() => out.extend_from_slice(b"null"),
        Kind::Table => return table(stack, settings, out, open),
        _ => refuse(stack, -1, "type not supported"),
    }
    stack.pop(1);
}

fn table(stack: &Stack, settings: &Settings, out: &mut Vec<u8>, open: &mut Vec<Open>) {
    let depth = open.len() + 1;
    if depth > settings.encode_depth_max as usize || !stack.reserve(3) {
        stack.fail(format_args!("Cannot serialise, excessive nesting ({depth})"));
    }
    match array_length(stack, settings) {
        Some(length) => {
            out.push(b'[');
            open.push(Open::Array { written: 0, length });
        }
        None => {
            out.push(b'{');
            open.push(Open::Object { is_first: true });
            stack.push_nil();
        }
    }
}

/// The greatest key, if all keys are positive integers, there is any, and there are not too few of them for it.
fn array_length(stack: &Stack, settings: &Settings) -> Option<c_int> {
    let (mut greatest, mut count) = (0.0_f64, 0.0_f64);
    stack.push_nil();
    while stack.next(-2) {
        let key = if stack.kind(-2) == Kind::Number { stack.number(-2) } else { 0.0 };
        if !(key >= 1.0 && key.floor() == key) {
            stack.pop(2);
            return None;
        }
        // What C's int does not hold is counted, but no place in the array, and so is lost beside other elements: as observed.
        if key <= f64::from(c_int::MAX) {
            greatest = greatest.max(key);
        }
        count += 1.0;
        stack.pop(1);
    }
    let (ratio, safe) = (f64::from(settings.sparse_ratio), f64::from(settings.sparse_safe));
    if ratio > 0.0 && greatest > count * ratio && greatest > safe {
        if !settings.sparse_convert {
            refuse(stack, -1, "excessively sparse array");
        }
        return None;
    }
    (greatest > 0.0).then_some(greatest as c_int)
}

fn key(stack: &Stack, settings: &Settings, out: &mut Vec<u8>) {
    match stack.kind(-2) {
        Kind::String => string(out, stack.string(-2)),
        Kind::Number => {
            out.push(b'"');
            number(stack, settings, out, -2);
            out.push(b'"');
        }
        _ => refuse(stack, -2, "table key must be a number or string"),
    }
    out.push(b':');
}

fn number(stack: &Stack, settings: &Settings, out: &mut Vec<u8>, index: c_int) {
    let number = stack.number(index);
    if !number.is_finite() {
        match settings.encode_invalid {
            InvalidNumbers::Refused => refuse(stack, index, "must not be NaN or Inf"),
            InvalidNumbers::Null => return out.extend_from_slice(b"null"),
            InvalidNumbers::Taken => {}
        }
    }
    write_number(out, number, settings.precision as usize);
}

fn string(out: &mut Vec<u8>, text: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut plain_from = 0;
    for (index, &byte) in text.iter().enumerate() {
        let escape = match byte {
            b'"' | b'\\' | b'/' => byte,
            0x08 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            0x0C => b'f',
            b'\r' => b'r',
            ..0x20 | 0x7F => b'u',
            _ => continue,
        };
        out.extend_from_slice(&text[plain_from..index]);
        plain_from = index + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            out.extend_from_slice(&[b'0', b'0', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
    out.extend_from_slice(&text[plain_from..]);
    out.push(b'"');
}
