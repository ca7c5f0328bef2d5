//! Values between Lua and the protocol, as Redis converts them.

use std::io::Write as _;

use mlua::{Lua, Result, Table, Value as LuaValue};
use resp::number::{DoubleText, parse_f64};
use resp::{Mark, Reply};

use crate::call::COUNTED;

/// Deeper tables are not followed; a table that holds itself ends here. Redis goes on until its Lua stack is full, at about 8,000.
const DEPTH_MAX: usize = 500;

/// A string, or a number's text; `None` for what can be no word of a command.
pub fn argument(value: &LuaValue) -> Option<Vec<u8>> {
    let number = match value {
        LuaValue::String(text) => return Some(text.as_bytes().to_vec()),
        LuaValue::Integer(number) => *number as f64,
        LuaValue::Number(number) => *number,
        _ => return None,
    };
    let mut text = Vec::new();
    write_number(number, &mut text);
    Some(text)
}

/// Appends a number's text, as commands get it.
pub fn write_number(number: f64, text: &mut Vec<u8>) {
    // Beyond these Redis writes an exponent.
    const INTEGER_MAX: f64 = (1u64 << 62) as f64;
    if number.trunc() == number && number.abs() <= INTEGER_MAX {
        write!(text, "{}", number as i64).expect("memory takes everything");
    } else if number.is_nan() {
        text.extend_from_slice(if number.is_sign_negative() { b"-nan" } else { b"nan" });
    } else {
        text.extend_from_slice(DoubleText::new(number).as_bytes());
    }
}

/// A double of the protocol.
pub fn double(text: &[u8]) -> f64 {
    parse_f64(text).unwrap_or(f64::NAN)
}

/// As in Redis, the text of a status or an error ends at its first NUL.
pub fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// A simple string is any bytes but line ends.
pub fn write_status(text: &[u8], reply: &mut Reply) {
    let text = until_nul(text);
    reply.raw(b"+");
    for piece in text.split_inclusive(|byte| matches!(byte, b'\r' | b'\n')) {
        match piece {
            [clean @ .., b'\r' | b'\n'] => {
                reply.raw(clean);
                reply.raw(b" ");
            }
            clean => reply.raw(clean),
        }
    }
    reply.raw(b"\r\n");
}

/// A table whose elements are being written. On a stack of our own: a script's nesting must not take the event loop's.
struct Open {
    start: Mark,
    written: usize,
    rest: Rest,
}

enum Rest {
    /// The elements up to the first that is nil.
    Array(Table),
    /// Its keys and values in turns, in a list. Both lists are Lua's, one reference each: of those there are but 8,000.
    Map(Table),
    /// Its elements, in a list.
    Set(Table),
}

impl Open {
    fn next(&mut self) -> Result<Option<LuaValue>> {
        let (Rest::Array(list) | Rest::Map(list) | Rest::Set(list)) = &self.rest;
        let value: Option<LuaValue> =
            Some(list.raw_get(self.written + 1)?).filter(|element: &LuaValue| !element.is_nil());
        self.written += usize::from(value.is_some());
        Ok(value)
    }

    fn finish(self, reply: &mut Reply) {
        match self.rest {
            Rest::Array(_) => reply.finish_array(self.start, self.written),
            Rest::Map(_) => reply.finish_map(self.start, self.written / 2),
            Rest::Set(_) => reply.finish_set(self.start, self.written),
        }
    }
}

/// Writes what a script returns.
pub struct Writer<'a> {
    pub lua: &'a Lua,
    /// What the script has asked for with `setresp`.
    pub resp3: bool,
    pub reply: &'a mut Reply,
    /// Hears of each error that nobody has counted.
    pub uncounted: &'a mut dyn FnMut(&[u8]),
    /// Whether there was an error in it.
    pub has_error: bool,
}

impl Writer<'_> {
    /// # Errors
    /// Of the interpreter (no memory); likewise below.
    pub fn write(&mut self, value: &LuaValue) -> Result<()> {
        let mut open: Vec<Open> = self.open(value, 0)?.into_iter().collect();
        while let Some(table) = open.last_mut() {
            match table.next()? {
                Some(element) => {
                    let inner = self.open(&element, open.len())?;
                    open.extend(inner);
                }
                None => open.pop().expect("it is the last").finish(self.reply),
            }
        }
        Ok(())
    }

    /// Writes a value, or returns the table whose elements are to be written.
    fn open(&mut self, value: &LuaValue, depth: usize) -> Result<Option<Open>> {
        let reply = &mut *self.reply;
        match value {
            LuaValue::String(text) => reply.bulk(text.as_bytes()),
            LuaValue::Integer(number) => reply.int(*number),
            LuaValue::Number(number) => reply.int(truncated(*number)),
            LuaValue::Boolean(value) if self.resp3 => reply.boolean(*value),
            LuaValue::Boolean(true) => reply.int(1),
            LuaValue::Table(_) if depth == DEPTH_MAX => self.error(b"ERR reached lua stack limit", false),
            LuaValue::Table(table) => return self.open_table(table),
            _ => reply.null(),
        }
        Ok(None)
    }

    fn error(&mut self, text: &[u8], counted: bool) {
        self.has_error = true;
        if !counted {
            (self.uncounted)(text);
        }
        self.reply.error(text);
    }

    fn open_table(&mut self, table: &Table) -> Result<Option<Open>> {
        let aggregate = |reply: &mut Reply, rest| Ok(Some(Open { start: reply.start_deferred(), written: 0, rest }));
        if let LuaValue::String(text) = table.raw_get("err")? {
            let counted = table.raw_get::<LuaValue>(COUNTED)?.as_boolean() == Some(true);
            self.error(until_nul(&text.as_bytes()), counted);
            return Ok(None);
        }
        let reply = &mut *self.reply;
        if let LuaValue::String(text) = table.raw_get("ok")? {
            write_status(&text.as_bytes(), reply);
            return Ok(None);
        }
        match table.raw_get("double")? {
            LuaValue::Number(number) => {
                reply.double(number);
                return Ok(None);
            }
            LuaValue::Integer(number) => {
                reply.double(number as f64);
                return Ok(None);
            }
            _ => {}
        }
        if let LuaValue::Table(map) = table.raw_get("map")? {
            let list = self.lua.create_table()?;
            for pair in map.pairs::<LuaValue, LuaValue>() {
                let (key, value) = pair?;
                list.raw_push(key)?;
                list.raw_push(value)?;
            }
            return aggregate(reply, Rest::Map(list));
        }
        if let LuaValue::Table(set) = table.raw_get("set")? {
            let list = self.lua.create_table()?;
            for pair in set.pairs::<LuaValue, LuaValue>() {
                list.raw_push(pair?.0)?;
            }
            return aggregate(reply, Rest::Set(list));
        }
        if let LuaValue::String(digits) = table.raw_get("big_number")? {
            let clean: String = digits.to_string_lossy().replace(['\r', '\n'], " ");
            reply.big_number(&clean);
            return Ok(None);
        }
        if let LuaValue::Table(verbatim) = table.raw_get("verbatim_string")?
            && let (LuaValue::String(format), LuaValue::String(text)) =
                (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
        {
            let mut kind: Vec<u8> = format.as_bytes().iter().copied().take(3).collect();
            kind.resize(3, b' ');
            let kind = String::from_utf8(kind).ok().filter(|kind| !kind.contains(['\r', '\n']));
            reply.verbatim(kind.as_deref().unwrap_or("txt"), &text.as_bytes());
            return Ok(None);
        }
        aggregate(reply, Rest::Array(table.clone()))
    }
}

/// As the processors do it that Redis runs on: what does not fit becomes the smallest integer.
pub fn truncated(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) { number as i64 } else { i64::MIN }
}
