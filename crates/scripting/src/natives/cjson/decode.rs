//! JSON becomes Lua's values.

use std::ffi::c_int;

use super::super::{Stack, empty};
use super::number::read_number;
use super::{InvalidNumbers, Settings, scratch, settings};

/// A table that is not finished. It is on Lua's stack.
pub(super) enum Open {
    Array {
        length: c_int,
    },
    /// A key is on the stack too.
    Object,
}

#[derive(Clone, Copy, PartialEq)]
enum Token {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    /// Its bytes are in the buffer.
    String,
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    /// Nothing of the kind, and why.
    Error(&'static str),
}

impl Token {
    fn name(self) -> &'static str {
        match self {
            Token::ObjectBegin => "T_OBJ_BEGIN",
            Token::ObjectEnd => "T_OBJ_END",
            Token::ArrayBegin => "T_ARR_BEGIN",
            Token::ArrayEnd => "T_ARR_END",
            Token::String => "T_STRING",
            Token::Number(_) => "T_NUMBER",
            Token::Boolean(_) => "T_BOOLEAN",
            Token::Null => "T_NULL",
            Token::Colon => "T_COLON",
            Token::Comma => "T_COMMA",
            Token::End => "T_END",
            Token::Error(why) => why,
        }
    }
}

/// The text on its way.
struct Input<'a> {
    stack: &'a Stack,
    settings: &'a Settings,
    /// Up to the first zero, which ends it as it ends a string in C.
    text: &'a [u8],
    position: usize,
    /// Where the last token began, or what is wrong with it.
    token_at: usize,
    /// The last string.
    string: &'a mut Vec<u8>,
}

pub(super) fn decode(stack: &Stack) -> c_int {
    if stack.top() != 1 {
        stack.fail_argument(1, format_args!("expected 1 argument"));
    }
    let text = stack.check_string(1);
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        stack.fail(format_args!("JSON parser does not support UTF-16 or UTF-32"));
    }
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    let super::Scratch { bytes: string, decoding: open, .. } = scratch(stack);
    empty(string);
    empty(open);
    let mut input = Input { stack, settings: settings(stack), text: &text[..end], position: 0, token_at: 0, string };
    let mut token = input.next();
    loop {
        if !value(&mut input, token, open) {
            if let Some(first) = first(&mut input, open) {
                token = first;
                continue;
            }
            open.pop();
        }
        // A value is whole: it belongs to the table below.
        loop {
            let Some(table) = open.last_mut() else {
                match input.next() {
                    Token::End => return 1,
                    other => input.expected("the end", other),
                }
            };
            match table {
                Open::Array { length } => {
                    *length += 1;
                    stack.set_element(-2, *length);
                    match input.next() {
                        Token::Comma => {
                            token = input.next();
                            break;
                        }
                        Token::ArrayEnd => {}
                        other => input.expected("comma or array end", other),
                    }
                }
                Open::Object => {
                    stack.set_field(-3);
                    match input.next() {
                        Token::Comma => {
                            let key = input.next();
                            input.key(key);
                            token = input.next();
                            break;
                        }
                        Token::ObjectEnd => {}
                        other => input.expected("comma or object end", other),
                    }
                }
            }
            open.pop();
        }
    }
}

/// Pushes the value that begins with this token; whether it is whole.
fn value(input: &mut Input<'_>, token: Token, open: &mut Vec<Open>) -> bool {
    let stack = input.stack;
    match token {
        Token::String => stack.push_string(input.string),
        Token::Number(number) => stack.push_number(number),
        Token::Boolean(value) => stack.push_boolean(value),
        Token::Null => stack.push_light_userdata(std::ptr::null_mut()),
        Token::ObjectBegin => {
            input.descend(open, 3);
            stack.push_table();
            open.push(Open::Object);
            return false;
        }
        Token::ArrayBegin => {
            input.descend(open, 2);
            stack.push_table();
            open.push(Open::Array { length: 0 });
            return false;
        }
        other => input.expected("value", other),
    }
    true
}

/// The token with which the first value of the table begins that was just opened, unless it is empty. An object's key is pushed.
fn first(input: &mut Input<'_>, open: &[Open]) -> Option<Token> {
    let token = input.next();
    match open.last()? {
        Open::Array { .. } => (token != Token::ArrayEnd).then_some(token),
        Open::Object if token == Token::ObjectEnd => None,
        Open::Object => {
            input.key(token);
            Some(input.next())
        }
    }
}

impl Input<'_> {
    fn expected(&self, what: &str, found: Token) -> ! {
        let (found, at) = (found.name(), self.token_at + 1);
        self.stack.fail(format_args!("Expected {what} but found {found} at character {at}"))
    }

    /// Room for one table more, which wants so many places.
    fn descend(&self, open: &[Open], places: usize) {
        let depth = open.len() + 1;
        if depth > self.settings.decode_depth_max as usize || !self.stack.reserve(places) {
            let at = self.position;
            self.stack.fail(format_args!("Found too many nested data structures ({depth}) at character {at}"));
        }
    }

    /// Pushes a key, and passes over the colon behind it.
    fn key(&mut self, token: Token) {
        if token != Token::String {
            self.expected("object key string", token);
        }
        self.stack.push_string(self.string);
        match self.next() {
            Token::Colon => {}
            other => self.expected("colon", other),
        }
    }

    fn next(&mut self) -> Token {
        let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.position += self.text[self.position..].iter().take_while(blank).count();
        self.token_at = self.position;
        let rest = &self.text[self.position..];
        let Some(&byte) = rest.first() else { return Token::End };
        let (token, length) = match byte {
            b'{' => (Token::ObjectBegin, 1),
            b'}' => (Token::ObjectEnd, 1),
            b'[' => (Token::ArrayBegin, 1),
            b']' => (Token::ArrayEnd, 1),
            b':' => (Token::Colon, 1),
            b',' => (Token::Comma, 1),
            b'"' => return self.next_string(),
            b'-' | b'0'..=b'9' if self.takes_invalid() || !is_invalid_number(rest) => return self.next_number(),
            b'-' | b'0'..=b'9' => return Token::Error("invalid number"),
            _ if rest.starts_with(b"true") => (Token::Boolean(true), 4),
            _ if rest.starts_with(b"false") => (Token::Boolean(false), 5),
            _ if rest.starts_with(b"null") => (Token::Null, 4),
            _ if self.takes_invalid() && is_invalid_number(rest) => return self.next_number(),
            _ => return Token::Error("invalid token"),
        };
        self.position += length;
        token
    }

    fn takes_invalid(&self) -> bool {
        self.settings.decode_invalid == InvalidNumbers::Taken
    }

    fn next_number(&mut self) -> Token {
        match read_number(&self.text[self.position..]) {
            (_, 0) => Token::Error("invalid number"),
            (number, length) => {
                self.position += length;
                Token::Number(number)
            }
        }
    }

    fn next_string(&mut self) -> Token {
        self.string.clear();
        let mut at = self.position + 1;
        let error = |input: &mut Self, at, why| {
            input.token_at = at;
            Token::Error(why)
        };
        loop {
            let rest = &self.text[at..];
            let Some(plain) = memchr::memchr2(b'"', b'\\', rest) else {
                return error(self, self.text.len(), "unexpected end of string");
            };
            self.string.extend_from_slice(&rest[..plain]);
            at += plain;
            if rest[plain] == b'"' {
                self.position = at + 1;
                return Token::String;
            }
            let escape = self.text.get(at + 1).copied();
            let byte = match escape {
                Some(byte @ (b'"' | b'\\' | b'/')) => byte,
                Some(b'b') => 0x08,
                Some(b'f') => 0x0C,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'u') => {
                    let Some((character, length)) = unicode(&self.text[at..]) else {
                        return error(self, at, "invalid unicode escape code");
                    };
                    let mut room = [0; 4];
                    self.string.extend_from_slice(character.encode_utf8(&mut room).as_bytes());
                    at += length;
                    continue;
                }
                _ => return error(self, at, "invalid escape code"),
            };
            self.string.push(byte);
            at += 2;
        }
    }
}

/// What JSON knows no number of the kind of: hexadecimal ones, a leading zero or plus, NaN and infinity.
fn is_invalid_number(text: &[u8]) -> bool {
    let begins = |text: &[u8], word: &[u8]| text.len() >= word.len() && text[..word.len()].eq_ignore_ascii_case(word);
    let text = match text {
        [b'+', ..] => return true,
        [b'-', rest @ ..] => rest,
        text => text,
    };
    match text {
        [b'0', next, ..] => matches!(next, b'x' | b'X' | b'0'..=b'9'),
        [b'0'..=b'9', ..] => false,
        _ => begins(text, b"inf") || begins(text, b"nan"),
    }
}

/// The character of `\\uXXXX`, or of two of them, and the length of the escape.
fn unicode(text: &[u8]) -> Option<(char, usize)> {
    let unit = |text: &[u8]| {
        let digits = text.strip_prefix(b"\\u")?.get(..4)?;
        digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)?))
    };
    let first = unit(text)?;
    if let Some(character) = char::from_u32(first) {
        return Some((character, 6));
    }
    let second = unit(&text[6..])?;
    let is_pair = first < 0xDC00 && (0xDC00..0xE000).contains(&second);
    let pair = 0x1_0000 + ((first & 0x3FF) << 10 | second & 0x3FF);
    is_pair.then(|| char::from_u32(pair)).flatten().map(|character| (character, 12))
}
