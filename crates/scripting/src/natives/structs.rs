//! `struct`: values as the fields of a C structure.
//!
//! ```text
//!  b B  h H  i I  l L  T   signed, unsigned integers of 1, 2, 4, 8, 8 bytes; i and I with a number: of so many
//!  f d                     floating point of 4, 8 bytes
//!  s                       a string and a zero
//!  cn                      n bytes of a string; c0: all of it (packing), as many as the number before says (unpacking)
//!  x                       a byte that is nothing
//!  < >                     the bytes from here on from the least, from the most significant
//!  !n                      integers from here on at multiples of their size, or of n if that is less
//! ```

use std::ffi::c_int;

use super::stack::integer;
use super::{GATHERED_BYTES_MAX, Natives, Stack, empty, natives};

const FUNCTIONS: Natives = natives![pack, unpack, size];

/// Integers of more bytes are refused.
const INTEGER_BYTES_MAX: usize = 32;
/// What `!` alone asks for.
const ALIGNMENT: usize = 8;

pub(super) fn open(stack: &Stack, scratch: *mut Vec<u8>) {
    stack.push_light_userdata(scratch.cast());
    stack.push_table();
    stack.set_functions(FUNCTIONS, 1);
    stack.remove(-2);
}

/// A format on its way.
struct Format<'a> {
    stack: &'a Stack,
    /// Up to a zero, which ends it as it ends a string in C.
    rest: &'a [u8],
    from_most_significant: bool,
    alignment: usize,
    /// Bytes up to here.
    position: usize,
}

/// A field: its letter, the bytes it takes (0: not fixed) and those before it that align it.
#[derive(Clone, Copy)]
struct Field {
    letter: u8,
    bytes: usize,
    padding: usize,
}

impl<'a> Format<'a> {
    fn new(stack: &'a Stack) -> Format<'a> {
        let text = stack.check_string(1);
        let end = memchr::memchr(0, text).unwrap_or(text.len());
        Format { stack, rest: &text[..end], from_most_significant: false, alignment: 1, position: 0 }
    }

    /// The number behind a letter.
    fn number(&mut self, default: usize) -> usize {
        let digit =
            |text: &[u8]| text.first().filter(|byte| byte.is_ascii_digit()).map(|byte| usize::from(byte - b'0'));
        if digit(self.rest).is_none() {
            return default;
        }
        let mut number: usize = 0;
        while let Some(digit) = digit(self.rest) {
            number = number * 10 + digit;
            if number > i32::MAX as usize {
                self.stack.fail(format_args!("integral size overflow"));
            }
            self.rest = &self.rest[1..];
        }
        number
    }

    fn next(&mut self) -> Option<Field> {
        let (&letter, rest) = self.rest.split_first()?;
        self.rest = rest;
        let bytes = match letter {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1),
            b'i' | b'I' => {
                let bytes = self.number(4);
                if bytes > INTEGER_BYTES_MAX {
                    self.stack.fail(format_args!("integral size {bytes} is larger than limit of {INTEGER_BYTES_MAX}"));
                }
                bytes
            }
            _ => 0,
        };
        let aligned = bytes.min(self.alignment);
        let padding = match letter {
            b'c' => 0,
            // Sizes that are no power of two are aligned by the same arithmetic, to odd places.
            _ if aligned > 1 => (aligned - (self.position & (aligned - 1))) & (aligned - 1),
            _ => 0,
        };
        Some(Field { letter, bytes, padding })
    }

    /// What is no field is about the fields behind it.
    fn control(&mut self, letter: u8) {
        match letter {
            b' ' => {}
            b'>' => self.from_most_significant = true,
            b'<' => self.from_most_significant = false,
            b'!' => {
                self.alignment = self.number(ALIGNMENT);
                if !self.alignment.is_power_of_two() {
                    self.stack.fail(format_args!("alignment {} is not a power of 2", self.alignment));
                }
            }
            _ => {
                let shown = [letter];
                let shown = std::str::from_utf8(&shown).unwrap_or("?");
                self.stack.fail_argument(1, format_args!("invalid format option '{shown}'"))
            }
        }
    }
}

fn pack(stack: &Stack) -> c_int {
    // SAFETY: this function was made with this pointer by `open`; its functions do not nest.
    let out = unsafe { &mut *stack.light_userdata(Stack::upvalue(1)).cast::<Vec<u8>>() };
    empty(out);
    let mut format = Format::new(stack);
    // An argument that is missing is nil, but for one more field than there are arguments: Redis says the same.
    stack.push_nil();
    let mut argument = 2;
    while let Some(field) = format.next() {
        let before = out.len();
        out.resize(before + field.padding, 0);
        match field.letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let number = stack.check_number(argument);
                argument += 1;
                put_integer(out, wrapped(number), field.bytes, format.from_most_significant);
            }
            b'x' => out.push(0),
            b'f' => {
                let bytes = (stack.check_number(argument) as f32).to_le_bytes();
                argument += 1;
                put(out, &bytes, format.from_most_significant);
            }
            b'd' => {
                let bytes = stack.check_number(argument).to_le_bytes();
                argument += 1;
                put(out, &bytes, format.from_most_significant);
            }
            b'c' | b's' => {
                let text = stack.check_string(argument);
                argument += 1;
                let bytes = if field.bytes == 0 { text.len() } else { field.bytes };
                if text.len() < bytes {
                    stack.fail_argument(argument, format_args!("string too short"));
                }
                if out.len() + bytes > GATHERED_BYTES_MAX {
                    stack.fail_for_memory();
                }
                out.extend_from_slice(&text[..bytes]);
                if field.letter == b's' {
                    out.push(0);
                }
            }
            letter => format.control(letter),
        }
        format.position = out.len();
    }
    stack.push_string(out);
    1
}

/// As C converts a number to an unsigned integer of 64 bits on the processors that Redis runs on.
fn wrapped(number: f64) -> u64 {
    const HALF: f64 = 9_223_372_036_854_775_808.0;
    if number >= HALF { integer(number - HALF) as u64 ^ (1 << 63) } else { integer(number) as u64 }
}

/// Beyond 8 bytes there are zeros, also for what is negative.
fn put_integer(out: &mut Vec<u8>, value: u64, bytes: usize, from_most_significant: bool) {
    let mut field = [0; INTEGER_BYTES_MAX];
    field[..8].copy_from_slice(&value.to_le_bytes());
    put(out, &field[..bytes], from_most_significant);
}

fn put(out: &mut Vec<u8>, from_least: &[u8], from_most_significant: bool) {
    let before = out.len();
    out.extend_from_slice(from_least);
    if from_most_significant {
        out[before..].reverse();
    }
}

fn unpack(stack: &Stack) -> c_int {
    const TOO_MANY: &str = "too many results";
    let mut format = Format::new(stack);
    stack.check_string(2);
    let start = stack.integer_or(3, 1);
    if start == 0 {
        stack.fail_argument(3, format_args!("offset must be 1 or greater"));
    }
    let data = stack.string(2);
    let mut results = 0;
    // What is negative is beyond any string.
    format.position = (start as usize).wrapping_sub(1);
    let too_short = || -> ! { stack.fail_argument(2, format_args!("data string too short")) };
    while let Some(field) = format.next() {
        let Field { letter, bytes, padding } = field;
        let within = |position: usize, bytes: usize| {
            position.checked_add(bytes).filter(|&end| end <= data.len()).map(|end| &data[position..end])
        };
        let Some(at) = format.position.checked_add(padding) else { too_short() };
        let Some(taken) = within(at, bytes) else { too_short() };
        format.position = at + bytes;
        stack.reserve_for(2, TOO_MANY);
        match letter {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                let number = taken_integer(taken, letter.is_ascii_lowercase(), format.from_most_significant);
                stack.push_number(number);
                results += 1;
            }
            b'x' => {}
            b'f' => {
                let mut bytes = [0; 4];
                bytes.copy_from_slice(taken);
                let bits =
                    if format.from_most_significant { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) };
                stack.push_number(f64::from(f32::from_bits(bits)));
                results += 1;
            }
            b'd' => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(taken);
                let bits =
                    if format.from_most_significant { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) };
                stack.push_number(f64::from_bits(bits));
                results += 1;
            }
            b'c' if bytes > 0 => {
                stack.push_string(taken);
                results += 1;
            }
            b'c' => {
                let before = if results > 0 { stack.number_like(-1) } else { None };
                let Some(before) = before else { stack.fail(format_args!("format 'c0' needs a previous size")) };
                stack.pop(1);
                let Some(taken) = within(at, wrapped(before) as usize) else { too_short() };
                format.position = at + taken.len();
                stack.push_string(taken);
            }
            b's' => {
                let Some(length) = data.get(at..).and_then(|rest| memchr::memchr(0, rest)) else {
                    stack.fail(format_args!("unfinished string in data"))
                };
                stack.push_string(&data[at..at + length]);
                format.position = at + length + 1;
                results += 1;
            }
            letter => format.control(letter),
        }
    }
    stack.push_number((format.position + 1) as f64);
    results + 1
}

/// Of more than 8 bytes the least significant ones.
fn taken_integer(bytes: &[u8], signed: bool, from_most_significant: bool) -> f64 {
    let mut value: u64 = 0;
    for index in 0..bytes.len() {
        let byte = if from_most_significant { bytes[index] } else { bytes[bytes.len() - 1 - index] };
        value = value << 8 | u64::from(byte);
    }
    if !signed {
        return value as f64;
    }
    // From the sign on. Beyond 8 bytes the place is taken modulo 64, as processors shift, which Redis shows.
    let sign = u64::MAX << ((8 * bytes.len() as u32).wrapping_sub(1) & 63);
    (if value & sign == 0 { value } else { value | sign }) as i64 as f64
}

fn size(stack: &Stack) -> c_int {
    let mut format = Format::new(stack);
    while let Some(Field { letter, bytes, padding }) = format.next() {
        match letter {
            b's' => stack.fail_argument(1, format_args!("option 's' has no fixed size")),
            b'c' if bytes == 0 => stack.fail_argument(1, format_args!("option 'c0' has no fixed size")),
            letter if letter.is_ascii_alphanumeric() => format.position += padding + bytes,
            letter => format.control(letter),
        }
    }
    stack.push_number(format.position as f64);
    1
}
