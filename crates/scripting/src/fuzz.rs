//! The bodies of the fuzz targets: any bytes as the text of a library, and as what the libraries of scripts decode.
//!
//! Whatever comes, there is a reply or a text, and the interpreters can be used again.

use std::time::Duration;

use resp::Reply;

use crate::{Ended, Engine, Functions, Host, Policy, Program, Script};

const VERSION: [u8; 3] = [8, 2, 0];

/// A server with no commands. A script ends as soon as it is slow.
struct Nothing;

impl Host for Nothing {
    fn call(&mut self, _: &[&[u8]], reply: &mut Reply) {
        reply.ok();
    }

    fn log(&mut self, _: u8, _: &str) {}

    fn fails_with(&mut self, _: &[u8]) {}

    fn permits(&self, _: &[&[u8]]) -> Option<bool> {
        None
    }

    fn meanwhile(&mut self) -> bool {
        false
    }
}

/// Interpreters, and what was loaded before.
pub struct Target {
    functions: Functions,
    engine: Engine,
    decoding: Program,
}

impl Default for Target {
    fn default() -> Target {
        // Results go through tables: a debug build of Lua refuses `pcall` more than twenty.
        const DECODING: &[u8] = b"local text, format = ARGV[1], ARGV[2]
            local values = {}
            local function try(f) pcall(function() values = {f()} end) end
            try(function() return cjson.decode(text) end)
            try(function() return cjson.encode(values) end)
            try(function() return cmsgpack.unpack(text) end)
            try(function() return cmsgpack.pack(values) end)
            try(function() return struct.unpack(format, text) end)
            try(function() return struct.pack(format, unpack(values)) end)
            try(function() return struct.size(format) end)
            try(function() return loadstring(text) end)
            return {pcall(cmsgpack.unpack_limit, text, 3, #format)}";
        let decoding = Program::Script(Script::parse(DECODING).expect("it has no first line"));
        let engine = Engine::new(VERSION).expect("there is memory");
        Target { functions: Functions::default(), engine, decoding }
    }
}

impl Target {
    /// Loads a library, with a header of its own or with one that is right, and calls what it registers.
    ///
    /// # Panics
    /// If it does not hold together.
    pub fn library(&mut self, data: &[u8]) {
        let whole = [b"#!lua name=fuzz\n", data].concat();
        for code in [data, &whole] {
            let before = self.functions.libraries().len();
            match self.functions.load(code, Policy::Replace, VERSION, &mut |_, _| {}) {
                Ok(name) => assert!(self.functions.libraries().any(|library| library.name == name)),
                Err(text) => {
                    assert!(text.starts_with(b"ERR "), "{}", String::from_utf8_lossy(&text));
                    assert_eq!(self.functions.libraries().len(), before);
                }
            }
        }
        let known: Vec<crate::Function> =
            self.functions.libraries().flat_map(|library| library.functions.clone()).collect();
        assert_eq!(known.len(), self.functions.function_count());
        let engine = self.functions.engine();
        for function in known {
            let mut engine = engine.lock();
            let engine = engine.as_mut().expect("it has loaded this");
            run(engine, &Program::Function(function), &[]);
        }
        self.functions.clear();
    }

    /// Decodes it by all libraries that decode.
    pub fn decode(&mut self, data: &[u8]) {
        let (format, text) = data.split_at(data.len().min(data.first().map_or(0, |&byte| usize::from(byte % 16))));
        assert_eq!(run(&mut self.engine, &self.decoding, &[text, format]), Ended::Returned { with_error: false });
    }
}

fn run(engine: &mut Engine, program: &Program, args: &[&[u8]]) -> Ended {
    let mut reply = Reply::default();
    let slow_after = Some(Duration::from_millis(500));
    let ended = engine.run(program, &[], args, slow_after, &mut Nothing, &mut reply);
    assert!(!reply.is_empty(), "no reply");
    ended
}
