//! Lua programs over a grammar: calls of commands, values of every kind, and what can be done with them.
//!
//! Nothing in them may differ between two servers by right: only commands whose replies have one order, no addresses, no clock.

use rand::{Rng, seq::IndexedRandom};
use testkit::Random;

use super::collections;

/// Calls; `K` is a key, `S` a text, `I` a number that is an integer, `E` any expression.
const CALLS: &[&str] = &[
    "'GET',K",
    "'SET',K,E",
    "'SET',K,S,'GET'",
    "'SETNX',K,E",
    "'APPEND',K,S",
    "'STRLEN',K",
    "'INCR',K",
    "'INCRBY',K,I",
    "'INCRBYFLOAT',K,'0.5'",
    "'GETRANGE',K,I,I",
    "'DEL',K",
    "'DEL',K,K",
    "'EXISTS',K,K",
    "'TYPE',K",
    "'RENAME',K,K",
    "'PERSIST',K",
    "'RPUSH',K,E,S",
    "'LPUSH',K,S",
    "'LPOP',K",
    "'LPOP',K,I",
    "'LRANGE',K,0,-1",
    "'LLEN',K",
    "'LINDEX',K,I",
    "'LSET',K,I,S",
    "'BLPOP',K,0",
    "'SADD',K,S,I",
    "'SREM',K,S",
    "'SISMEMBER',K,S",
    "'SMISMEMBER',K,S,I",
    "'SCARD',K",
    "'HSET',K,S,E",
    "'HGET',K,S",
    "'HMGET',K,S,I",
    "'HDEL',K,S",
    "'HLEN',K",
    "'HINCRBY',K,S,I",
    "'HINCRBYFLOAT',K,S,'1.5'",
    "'ZADD',K,I,S",
    "'ZADD',K,'1.5',S",
    "'ZADD',K,'INCR',I,S",
    "'ZSCORE',K,S",
    "'ZRANGE',K,0,-1,'WITHSCORES'",
    "'ZRANK',K,S",
    "'ZCARD',K",
    "'ZPOPMIN',K",
    "'XADD',K,'90000000000001-*','f',S",
    "'XLEN',K",
    "'XRANGE',K,'-','+'",
    "'SETBIT',K,7,1",
    "'BITCOUNT',K",
    "'PFADD',K,S",
    "'PFCOUNT',K",
    "'ECHO',S",
    "'PING'",
    "'SELECT',1",
    "'OBJECT','ENCODING',K",
    "'MGET',K,K",
    "'COPY',K,K",
    "'NOSUCH',K",
    "'GET'",
    "'SUBSCRIBE','x'",
    "'MULTI'",
    "'GET',{}",
    "'SET',K,nil",
    "E",
];

const TEXTS: &[&str] = &[
    "'a'",
    "'b'",
    "'x y'",
    "''",
    "'1'",
    "'-7'",
    "'3.25'",
    "'\\0\\255'",
    "'long '..string.rep('z',40)",
    "'12345678901234567890'",
];

const NUMBERS: &[&str] = &[
    "0", "1", "-1", "2", "3", "10", "100", "-5", "1.5", "-1.5", "2.999", "1e15", "1e16", "1e100", "0.1", "2^53",
    "-2^31",
];

/// Values with one place `E` or more for others.
const COMPOUNDS: &[&str] = &[
    "{E,E}",
    "{E,nil,E}",
    "{E,{E,{E}}}",
    "{ok='FINE'}",
    "{err='MINE of course'}",
    "{err='no code'}",
    "{ok=E}",
    "{err=E}",
    "redis.status_reply('GOOD')",
    "redis.error_reply('BAD luck')",
    "redis.error_reply('-DASH luck')",
    "{map={a=E}}",
    "{set={a=true}}",
    "{double=1.5}",
    "{double=E}",
    "{big_number='12345678901234567890'}",
    "{verbatim_string={format='txt',string=T(E)}}",
    "redis.sha1hex(T(E))",
    "T(E)..T(E)",
    "#T(E)",
    "type(E)",
    "tonumber(T(E))",
    "tostring(N(E))",
    "N(E)+N(E)",
    "N(E)*N(E)",
    "N(E)/2",
    "N(E)%7",
    "-N(E)",
    "E==E",
    "not E",
    "(E and E)",
    "(E or E)",
    "T(E)<T(E)",
    "string.format('%d|%5.2f|%s|%q',I,N(E),T(E),T(E))",
    "string.sub(T(E),2,-2)",
    "string.upper(T(E))",
    "string.rep(T(E),3)",
    "string.reverse(T(E))",
    "(string.gsub(T(E),'%d','#'))",
    "string.find(T(E),'b')",
    "string.byte(T(E),1)",
    "math.floor(N(E))",
    "math.max(N(E),N(E))",
    "table.concat({T(E),T(E)},',')",
    "#{E,E,E}",
    "select('#',E,E)",
    "select(2,E,E)",
    "unpack({E,E})",
    "pcall(function() return E+E end)",
    "pcall(error,{err='THROWN it'})",
    "rawequal(E,E)",
    "next({E})",
    "(setmetatable({},{__index=function(t,k) return k end}).abc)",
    "redis.call(C)",
    "redis.pcall(C)",
    "pcall(redis.call,C)",
    "(redis.pcall(C) or {})['err']",
    "cjson.encode({T(E),N(I),true})",
    "cjson.encode({a=T(E)})",
    "cjson.decode('[1,2.5,\"x\",null,{\"k\":[true]}]')",
    "cjson.decode('{\"a\":[1,{}]}').a",
    "cjson.encode(cjson.decode('[1,[],{\"z\":1e3},null]'))",
    "cmsgpack.pack(E,I)",
    "cmsgpack.unpack(cmsgpack.pack({I,T(E),true}))",
    "bit.band(I,255)",
    "bit.bxor(I,I)",
    "bit.tohex(I)",
    "bit.lshift(I,3)",
    "struct.pack('>I2hs',I,I,T(E))",
    "struct.unpack('<I4',struct.pack('<I4',7))",
];

/// Statements; `V` is the name of a new variable.
const STATEMENTS: &[&str] = &[
    "local V=redis.call(C)",
    "local V=redis.call(C)",
    "local V=redis.call(C)",
    "local V=redis.pcall(C)",
    "local V=E",
    "redis.call(C)",
    "for i=1,3 do redis.call('INCR',K) end",
    "for i=1,3 do redis.pcall('RPUSH',K,i) end",
    "if E then redis.call(C) else redis.call(C) end",
    "if redis.call('EXISTS',K)==1 then redis.call('DEL',K) end",
    "local V={} for i=1,3 do V[i]=E end",
    "redis.setresp(3)",
    "redis.setresp(2)",
    "redis.log(redis.LOG_DEBUG,T(E))",
    "undeclared=E",
    "local V=undeclared",
    "error('stop here')",
    "error({err='STOP here'})",
    "return E",
];

/// Texts and numbers of any value, so that nothing shows an address.
const PRELUDE: &str = "local function T(x) if type(x)=='string' or type(x)=='number' then return tostring(x) end return type(x) end \
                       local function N(x) return tonumber(x) or 7 end ";

struct Writer<'a> {
    random: &'a mut Random,
    text: String,
    variables: usize,
    keys: usize,
}

impl Writer<'_> {
    fn one_of(&mut self, choices: &'static [&'static str]) -> &'static str {
        choices.choose(self.random).expect("there are some")
    }

    /// Writes a line of the grammar, its places filled in. An expression that lies deep is simple.
    fn write(&mut self, line: &'static str, depth: usize) {
        let bytes = line.as_bytes();
        for (at, &byte) in bytes.iter().enumerate() {
            let is_word =
                |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.%'".contains(byte));
            let is_alone =
                !is_word(at.checked_sub(1).and_then(|before| bytes.get(before))) && !is_word(bytes.get(at + 1));
            match byte {
                b'E' if is_alone => self.expression(depth + 1),
                b'K' if is_alone => {
                    let key = self.random.random_range(1..=self.keys);
                    self.text.push_str(&format!("KEYS[{key}]"));
                }
                b'S' if is_alone => {
                    let text = self.one_of(TEXTS);
                    self.text.push_str(text);
                }
                b'I' if is_alone => {
                    let number = self.random.random_range(-3..20);
                    self.text.push_str(&number.to_string());
                }
                b'C' if is_alone => {
                    let call = self.one_of(CALLS);
                    self.write(call, depth + 1);
                }
                b'V' if is_alone => self.text.push_str(&format!("v{}", self.variables + 1)),
                _ => self.text.push(byte as char),
            }
        }
    }

    fn expression(&mut self, depth: usize) {
        match self.random.random_range(0..if depth > 3 { 6 } else { 10 }) {
            0 => {
                let text = self.one_of(TEXTS);
                self.text.push_str(text);
            }
            1 => {
                let number = self.one_of(NUMBERS);
                self.text.push_str(number);
            }
            2 => {
                let word = self.one_of(&["nil", "true", "false", "#KEYS", "#ARGV", "{}"]);
                self.text.push_str(word);
            }
            3 => {
                let at = self.random.random_range(1..4);
                self.text.push_str(&format!("ARGV[{at}]"));
            }
            4 | 5 if self.variables > 0 => {
                let variable = self.random.random_range(1..=self.variables);
                self.text.push_str(&format!("v{variable}"));
            }
            4 | 5 => {
                let key = self.random.random_range(1..=self.keys);
                self.text.push_str(&format!("KEYS[{key}]"));
            }
            _ => {
                let compound = self.one_of(COMPOUNDS);
                self.write(compound, depth);
            }
        }
    }
}

/// The text of a program that uses so many keys.
fn program(random: &mut Random, keys: usize) -> String {
    let mut writer = Writer { random, text: PRELUDE.to_owned(), variables: 0, keys };
    for _ in 0..writer.random.random_range(1..5) {
        let statement = writer.one_of(STATEMENTS);
        // A program ends with its `return`, and a `return` in between needs a block.
        let in_block = statement.starts_with("return") || statement.starts_with("error");
        if in_block {
            writer.text.push_str("if ");
            writer.expression(2);
            writer.text.push_str(" then ");
        }
        writer.write(statement, 1);
        writer.text.push_str(if in_block { " end " } else { " " });
        if statement.contains('V') {
            writer.variables += 1;
        }
    }
    writer.text.push_str("return ");
    writer.expression(0);
    writer.text
}

/// An EVAL or EVAL_RO of a new program.
pub fn eval(random: &mut Random) -> Vec<Vec<u8>> {
    let keys = random.random_range(1..4);
    let mut text = program(random, keys);
    if random.random_bool(0.05) {
        let flags =
            ["", " flags=no-writes", " flags=allow-oom", " flags=allow-stale,no-cluster", " flags=bogus", " bogus=1"];
        text = format!("#!lua{}\n{text}", flags.choose(random).expect("there are some"));
    }
    let name = if random.random_bool(0.1) { "EVAL_RO" } else { "EVAL" };
    let mut arguments = vec![name.as_bytes().to_vec(), text.into_bytes(), keys.to_string().into_bytes()];
    arguments.extend((0..keys).map(|_| collections::any_key(random)));
    arguments.extend((0..random.random_range(0..4)).map(|_| collections::member(random)));
    arguments
}
