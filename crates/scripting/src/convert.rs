//! Values between Lua and the protocol, as Redis converts them.

use mlua::{Lua, Result, Table, Value as LuaValue};
use resp::client::Value;
use resp::number::DoubleText;
use resp::{Mark, Reply};

/// Deeper tables are not followed; a table that holds itself ends here. Redis goes on until its Lua stack is full, at about 8,000.
const DEPTH_MAX: usize = 500;

/// An argument of `redis.call`; `None` for what can be none.
pub fn argument(value: &LuaValue) -> Option<Vec<u8>> {
    match value {
        LuaValue::String(text) => Some(text.as_bytes().to_vec()),
        LuaValue::Integer(number) => Some(number.to_string().into_bytes()),
        LuaValue::Number(number) => Some(number_text(*number)),
        _ => None,
    }
}

fn number_text(number: f64) -> Vec<u8> {
    // Beyond 18 digits Redis writes an exponent.
    if number.trunc() == number && number.abs() < 1e18 {
        return (number as i64).to_string().into_bytes();
    }
    if number.is_nan() {
        return if number.is_sign_negative() { b"-nan".to_vec() } else { b"nan".to_vec() };
    }
    DoubleText::new(number).as_bytes().to_vec()
}

/// A reply as a script sees it. Errors are the caller's business.
pub fn to_lua(lua: &Lua, value: Value) -> Result<LuaValue> {
    let text = |text: Vec<u8>| lua.create_string(text).map(LuaValue::String);
    let tagged = |tag: &str, value: LuaValue| {
        let table = lua.create_table()?;
        table.raw_set(tag, value)?;
        Ok(LuaValue::Table(table))
    };
    match value {
        Value::Bulk(bytes) => text(bytes),
        Value::Int(number) => Ok(LuaValue::Number(number as f64)),
        Value::Simple(bytes) => tagged("ok", text(bytes)?),
        Value::Error(bytes) | Value::BulkError(bytes) => tagged("err", text(bytes)?),
        Value::NullBulk | Value::NullArray => Ok(LuaValue::Boolean(false)),
        Value::Null => Ok(LuaValue::Nil),
        Value::Bool(value) => Ok(LuaValue::Boolean(value)),
        Value::Array(values) | Value::Push(values) => {
            let table = lua.create_table_with_capacity(values.len(), 0)?;
            for (index, value) in values.into_iter().enumerate() {
                table.raw_set(index + 1, to_lua(lua, value)?)?;
            }
            Ok(LuaValue::Table(table))
        }
        Value::Map(pairs) => {
            let table = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, value) in pairs {
                table.raw_set(to_lua(lua, key)?, to_lua(lua, value)?)?;
            }
            tagged("map", LuaValue::Table(table))
        }
        Value::Set(values) => {
            let table = lua.create_table_with_capacity(0, values.len())?;
            for value in values {
                table.raw_set(to_lua(lua, value)?, true)?;
            }
            tagged("set", LuaValue::Table(table))
        }
        Value::Attribute(_, value) => to_lua(lua, *value),
        ref double @ Value::Double(_) => tagged("double", LuaValue::Number(double.as_f64().unwrap_or(f64::NAN))),
        Value::BigNumber(digits) => tagged("big_number", text(digits)?),
        Value::Verbatim(kind, bytes) => {
            let table = lua.create_table()?;
            table.raw_set("format", text(kind.to_vec())?)?;
            table.raw_set("string", text(bytes)?)?;
            tagged("verbatim_string", LuaValue::Table(table))
        }
    }
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

/// What a script returns, as a reply. `resp3` is what the script has asked for with `setresp`.
///
/// # Errors
/// Of the interpreter (no memory).
pub fn to_reply(lua: &Lua, value: &LuaValue, resp3: bool, reply: &mut Reply) -> Result<()> {
    let mut open: Vec<Open> = write(lua, value, resp3, reply, 0)?.into_iter().collect();
    while let Some(table) = open.last_mut() {
        match table.next()? {
            Some(element) => {
                let inner = write(lua, &element, resp3, reply, open.len())?;
                open.extend(inner);
            }
            None => open.pop().expect("it is the last").finish(reply),
        }
    }
    Ok(())
}

/// Writes a value, or returns the table whose elements are to be written.
fn write(lua: &Lua, value: &LuaValue, resp3: bool, reply: &mut Reply, depth: usize) -> Result<Option<Open>> {
    match value {
        LuaValue::String(text) => reply.bulk(text.as_bytes()),
        LuaValue::Integer(number) => reply.int(*number),
        LuaValue::Number(number) => reply.int(truncated(*number)),
        LuaValue::Boolean(value) if resp3 => reply.boolean(*value),
        LuaValue::Boolean(true) => reply.int(1),
        LuaValue::Table(_) if depth == DEPTH_MAX => reply.error("ERR reached lua stack limit"),
        LuaValue::Table(table) => return write_table(lua, table, reply),
        _ => reply.null(),
    }
    Ok(None)
}

/// As the processors do it that Redis runs on: what does not fit becomes the smallest integer.
fn truncated(number: f64) -> i64 {
    if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number) { number as i64 } else { i64::MIN }
}

fn write_table(lua: &Lua, table: &Table, reply: &mut Reply) -> Result<Option<Open>> {
    let aggregate = |reply: &mut Reply, rest| Ok(Some(Open { start: reply.start_deferred(), written: 0, rest }));
    if let LuaValue::String(text) = table.raw_get("err")? {
        reply.error(text.as_bytes());
        return Ok(None);
    }
    if let LuaValue::String(text) = table.raw_get("ok")? {
        // A simple string is any bytes but line ends.
        let clean = |&byte: &u8| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte };
        let text: Vec<u8> = text.as_bytes().iter().map(clean).collect();
        reply.raw(b"+");
        reply.raw(&text);
        reply.raw(b"\r\n");
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
        let list = lua.create_table()?;
        for pair in map.pairs::<LuaValue, LuaValue>() {
            let (key, value) = pair?;
            list.raw_push(key)?;
            list.raw_push(value)?;
        }
        return aggregate(reply, Rest::Map(list));
    }
    if let LuaValue::Table(set) = table.raw_get("set")? {
        let list = lua.create_table()?;
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
