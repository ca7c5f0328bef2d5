//! Scripts and functions beside real servers: the libraries that scripts use, texts of errors, escapes from the sandbox, payloads of
//! functions, and what is left of them in files.
//!
//! `SPINEL_SCRIPTS` says how many generated expressions of each kind are compared (500).

use std::fmt::Write as _;

use rand::Rng;
use rand::seq::IndexedRandom;
use testkit::{Client, Kind, Random, Server, Value, program, random_from, seed, skip_aloud};

fn start(kind: Kind) -> Option<Server> {
    if kind != Kind::Spinel && program(kind).is_none() {
        skip_aloud(&format!("no {kind} here (run tools/peers.sh)"));
        return None;
    }
    let arguments = ["--enable-debug-command", "yes"];
    Some(Server::start(kind, &arguments).expect("a server that is there starts"))
}

fn eval(client: &mut Client, script: &[u8]) -> Value {
    let reply = client.command(&[b"EVAL", script, b"0"]);
    reply.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(script)))
}

/// Both servers say the same to all of these, one after the other.
fn compare<'a>(ours: &mut Client, theirs: &mut Client, expressions: impl IntoIterator<Item = &'a str>) {
    let mut differences = String::new();
    for expression in expressions {
        let script = format!("return {expression}");
        let (here, there) = (eval(ours, script.as_bytes()), eval(theirs, script.as_bytes()));
        if here != there {
            writeln!(differences, "{expression}\n  expected {there}\n  got      {here}").expect("a string");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Written down, because each of them found or could have found a difference: see the files.
#[test]
fn expressions_have_the_same_values_and_errors() {
    let (Some(theirs), Some(ours)) = (start(Kind::Redis82), start(Kind::Spinel)) else { return };
    for text in [
        include_str!("scripts/bit.txt"),
        include_str!("scripts/struct.txt"),
        include_str!("scripts/cmsgpack.txt"),
        include_str!("scripts/cjson.txt"),
        include_str!("scripts/redis_and_lua.txt"),
    ] {
        compare(&mut ours.client(), &mut theirs.client(), text.lines());
    }
}

// ---------------------------------------------------------------------------------------------------------------------

/// An expression of Lua.
struct Expressions {
    random: Random,
}

impl Expressions {
    fn number(&mut self) -> String {
        const EDGES: &[&str] = &[
            "0",
            "-0.0",
            "1",
            "-1",
            "127",
            "128",
            "255",
            "256",
            "-32",
            "-33",
            "65535",
            "65536",
            "2^31",
            "-2^31",
            "2^32",
            "2^53",
            "2^63",
            "-2^63",
            "1/0",
            "0.1",
            "1e15",
            "1e14",
            "1e-5",
            "123456789.123",
            "1.5",
            "5e-324",
        ];
        match self.random.random_range(0..4) {
            0 => (*EDGES.choose(&mut self.random).expect("there are some")).to_owned(),
            1 => self.random.random_range(-1000..1000).to_string(),
            2 => format!(
                "{:e}",
                f64::from_bits(
                    self.random.random::<u64>() & !(0x7FF << 52) | self.random.random_range(900..1150) << 52
                )
            ),
            _ => format!("{}", f64::from(self.random.random_range(-1_000_000..1_000_000)) / 64.0),
        }
    }

    fn string(&mut self) -> String {
        let length = *[0, 1, 2, 5, 31, 32, 40].choose(&mut self.random).expect("there are some");
        let mut text = "\"".to_owned();
        for _ in 0..length {
            let byte: u8 =
                if self.random.random_bool(0.7) { self.random.random_range(32..127) } else { self.random.random() };
            write!(text, "\\{byte:03}").expect("a string");
        }
        text + "\""
    }

    /// A value that can be packed.
    fn value(&mut self, depth: usize) -> String {
        match self.random.random_range(0..if depth > 4 { 6 } else { 10 }) {
            0..=1 => self.number(),
            2..=3 => self.string(),
            4 => (*["true", "false", "nil", "cjson.null"].choose(&mut self.random).expect("there are some")).to_owned(),
            5 => "{}".to_owned(),
            6..=7 => {
                let values: Vec<String> = (0..self.random.random_range(1..6)).map(|_| self.value(depth + 1)).collect();
                format!("{{{}}}", values.join(","))
            }
            _ => {
                // One key: the order of several is the interpreter's, and the same as long as the keys are strings.
                let fields: Vec<String> = (0..self.random.random_range(1..4))
                    .map(|index| format!("[\"k{index}\"]={}", self.value(depth + 1)))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }
        }
    }

    fn format(&mut self) -> String {
        let options = "bBhHiIlLTfdsxc0123 <>!48i7I9";
        let length = self.random.random_range(1..9);
        (0..length).map(|_| *options.as_bytes().choose(&mut self.random).expect("there are some") as char).collect()
    }

    fn json(&mut self) -> String {
        const PIECES: &[&str] = &[
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"a\"",
            "\"\\u00e9\"",
            "\"\\ud83d\\ude00\"",
            "\"\\n\"",
            "1",
            "-1.5e3",
            "0",
            "01",
            "true",
            "false",
            "null",
            "nan",
            "-inf",
            " ",
            "\"",
            "\\",
            "0x1F",
            "[1,2]",
            "{\"a\":[{}]}",
            "1e",
            "-",
        ];
        let length = self.random.random_range(1..10);
        let text: String = (0..length).map(|_| *PIECES.choose(&mut self.random).expect("there are some")).collect();
        if self.random.random_bool(0.5) { format!("[{text}]") } else { text }
    }

    /// One of the things that libraries can do.
    fn expression(&mut self) -> String {
        match self.random.random_range(0..7) {
            0 => format!("cjson.encode({})", self.value(0)),
            1 => format!("cjson.encode({{cjson.decode([==[{}]==])}})", self.json()),
            2 => format!("cmsgpack.pack({},{})", self.value(0), self.value(0)),
            3 => format!("{{cmsgpack.unpack({})}}", self.string()),
            4 => {
                let values: Vec<String> =
                    (0..6).map(|_| if self.random.random_bool(0.8) { self.number() } else { self.string() }).collect();
                format!("struct.pack(\"{}\",{})", self.format(), values.join(","))
            }
            5 => format!("cmsgpack.pack(struct.unpack(\"{}\",{}))", self.format(), self.string()),
            _ => {
                const NAMES: &[&str] = &[
                    "tobit", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap",
                    "tohex",
                ];
                let name = NAMES.choose(&mut self.random).expect("there are some");
                format!("bit.{name}({},{})", self.number(), self.number())
            }
        }
    }
}

#[test]
fn generated_expressions_have_the_same_values_and_errors() {
    let (Some(theirs), Some(ours)) = (start(Kind::Redis82), start(Kind::Spinel)) else { return };
    let seed = seed();
    println!("seed {seed}");
    let count = std::env::var("SPINEL_SCRIPTS").ok().and_then(|count| count.parse().ok()).unwrap_or(500);
    let mut expressions = Expressions { random: random_from(seed) };
    let generated: Vec<String> = (0..7 * count).map(|_| expressions.expression()).collect();
    compare(&mut ours.client(), &mut theirs.client(), generated.iter().map(String::as_str));
}

// ---------------------------------------------------------------------------------------------------------------------

/// Ways out of the sandbox, or into another's script, that were published. Each leaves nothing behind, and says what Redis says.
#[test]
fn escapes_are_refused_as_redis_refuses_them() {
    const ESCAPES: &[&str] = &[
        // Modules in C (CVE-2022-0543, of one distribution).
        "package.loadlib('/lib/libc.so.6', 'luaopen_io')",
        "require('io')",
        "io.popen('id')",
        "os.execute('id')",
        "dofile('/etc/passwd')",
        "loadfile('/etc/passwd')",
        // Code of one script that runs in another's name (CVE-2022-24735).
        "(function() redis.call = function() return 'mine' end end)()",
        "(function() _G.redis = {call = function() return 'mine' end} end)()",
        "(function() string.sub = nil end)()",
        "(function() getmetatable('').__index = function() return 'mine' end end)()",
        "rawset(redis, 'call', function() return 'mine' end)",
        "rawset(_G, 'tostring', function() return 'mine' end)",
        "setmetatable(_G, {__index = function() return 'mine' end})",
        "(function() getmetatable(_G).__index = function() return 'mine' end end)()",
        "table.insert(redis, 'mine')",
        "(function() cjson.encode = nil end)()",
        "(function() math.random = nil end)()",
        // Metatables of what is no table (CVE-2025-46818).
        "(function() getmetatable('').__add = function() return 'mine' end end)()",
        "setmetatable('', {__index = function() return 'mine' end})",
        "setmetatable(1, {__call = function() return 'mine' end})",
        "setmetatable(nil, {__index = function() return 'mine' end})",
        "setmetatable(true, {__index = function() return 'mine' end})",
        "setmetatable(function() end, {__index = function() return 'mine' end})",
        "getmetatable(nil)",
        "getmetatable(1)",
        "getmetatable(function() end)",
        // What the compiler has made.
        "loadstring(string.dump(function() return 1 end))",
        "loadstring('\\27Lua')",
        // Environments, the debugger, proxies.
        "getfenv(1)",
        "setfenv(1, {})",
        "debug.getregistry()",
        "debug.sethook()",
        "newproxy(true)",
        "_G.debug",
        // More results than there is room for (CVE-2025-46817).
        "unpack({}, -2147483648, 2147483647)",
        "unpack({}, 0, 2147483647)",
        "unpack({}, 1, 1e9)",
        "unpack({}, 2147483647, -2147483648)",
        "unpack({}, 1, 8001)",
        "select('#', unpack({}, 1, 7000))",
        // Eight digits (CVE-2024-31449).
        "bit.tohex(65535, -2147483648)",
        "bit.tohex(65535, 2147483647)",
        // Sizes and places (CVE-2018-11218, CVE-2018-11219).
        "struct.unpack('I2147483648', 'x')",
        "struct.pack('>I2147483648', '10')",
        "struct.unpack('c2147483647c2147483647', 'x')",
        "struct.unpack('bc0', '\\255')",
        "struct.unpack('b', 'x', 2^62)",
        "struct.size('c2147483647c2147483647')",
        "cmsgpack.unpack(string.rep('\\145', 100000))",
        "cmsgpack.unpack('\\221\\255\\255\\255\\255')",
        "cmsgpack.unpack_limit('x', 1, 2^31)",
        "#cmsgpack.pack((function() local t = {} t[1] = t return t end)())",
        "cjson.decode(string.rep('[', 100000))",
        "cjson.encode((function() local t = {} t[1] = t return t end)())",
        // Recursion.
        "(function() local function f() return 1 + f() end return f() end)()",
        "string.format('%99999d', 1)",
        "('x'):rep(100, 'y')",
    ];
    let (Some(theirs), Some(ours)) = (start(Kind::Redis82), start(Kind::Spinel)) else { return };
    let (mut ours, mut theirs) = (ours.client(), theirs.client());
    compare(&mut ours, &mut theirs, ESCAPES.iter().copied());
    // Nothing is left of any of them.
    compare(
        &mut ours,
        &mut theirs,
        [
            "redis.call('echo', 'fine')",
            "tostring(5)",
            "('abc'):sub(2)",
            "cjson.encode({1})",
            "redis[1]",
            "math.floor(1.5)",
            "pcall(function() return 1 + '' end)",
            "pcall(function() return (nil).x end)",
        ],
    );
}

/// What takes all there is, or would take Redis down with it: here it ends in an error, and the server goes on.
#[test]
fn bombs_end_in_an_error() {
    let ours = start(Kind::Spinel).expect("Spinel starts");
    let mut client = ours.client();
    client.set_timeout(std::time::Duration::from_secs(300)).expect("a socket");
    for (bomb, error) in [
        ("local t = {} while true do t[#t + 1] = ('x'):rep(1000000) .. #t end", "not enough memory"),
        ("return ('x'):rep(1e10)", "not enough memory"),
        ("local s = 'x' while true do s = s .. s end", "not enough memory"),
        (
            "return table.concat((function() local t = {} local s = ('x'):rep(2^20) for i = 1, 4096 do t[i] = s end return t end)())",
            "not enough memory",
        ),
        ("local t = {} for i = 1, 40 do t = {t, t} end return cjson.encode(t)", "not enough memory"),
        (
            "local t = {} for i = 1, 15 do local u = {} for j = 1, 16 do u[j] = t end t = u end return cmsgpack.pack(t)",
            "not enough memory",
        ),
        ("return string.find(('a'):rep(300000), ('a?'):rep(300000))", "pattern too complex"),
        ("return ('x'):gsub(('(.-)'):rep(3000), '')", "pattern too complex"),
        ("return string.match(('a'):rep(9000), ('.-b?'):rep(3000))", "pattern too complex"),
        ("return load(function() return 'x x ' end)", ""),
        // The collector between two pieces of a text that is compiled (CVE-2025-49844).
        (
            "local n = 0 return load(function() n = n + 1 collectgarbage() if n < 100 then return ' ' end end, ('n'):rep(100) .. n)",
            "",
        ),
        ("local co = {} for i = 1, 100000 do co[i] = coroutine.create(function() end) end return #co", ""),
        ("local function f() return coroutine.wrap(f)() end return f()", "C stack overflow"),
        ("return loadstring(('('):rep(100000))", ""),
        ("return loadstring('return ' .. ('-'):rep(100000) .. '1')", ""),
        ("return loadstring('return ' .. ('{'):rep(100000))", ""),
        ("return loadstring('x = [' .. ('='):rep(1000000) .. '[' )", ""),
        ("local t = setmetatable({}, {}) getmetatable(t).__index = t return t.x", "loop in gettable"),
    ] {
        let reply = eval(&mut client, bomb.as_bytes()).to_string();
        assert!(reply.contains(error), "{bomb}: {reply}");
    }
    assert_eq!(eval(&mut client, b"return 1").integer(), Some(1));
}

// ---------------------------------------------------------------------------------------------------------------------

fn load(client: &mut Client, name: &str) {
    let code = format!(
        "#!lua name={name}\n-- {}\nredis.register_function{{function_name = '{name}_f', callback = function(keys, args) \
         return {{'{name}', keys, args}} end, flags = {{'no-writes'}}, description = 'of {name}'}}",
        "long enough to be compressed ".repeat(10)
    );
    let reply = client.command(&["FUNCTION", "LOAD", &code]).expect("a reply");
    assert_eq!(reply.text(), Some(name), "{reply}");
}

/// All that is known of the libraries, by name.
fn libraries(client: &mut Client) -> Vec<String> {
    let reply = client.line("FUNCTION LIST WITHCODE");
    let mut libraries: Vec<String> = reply.elements().expect("a list").iter().map(Value::to_string).collect();
    libraries.sort();
    libraries
}

#[test]
fn payloads_of_functions_travel_both_ways() {
    for kind in Kind::PEERS {
        let (Some(theirs), Some(ours)) = (start(kind), start(Kind::Spinel)) else { continue };
        let (mut ours, mut theirs) = (ours.client(), theirs.client());
        for to_peer in [true, false] {
            let (from, to) = if to_peer { (&mut ours, &mut theirs) } else { (&mut theirs, &mut ours) };
            from.line("FUNCTION FLUSH");
            to.line("FUNCTION FLUSH");
            load(from, "one");
            load(from, "two");
            let dumped = from.line("FUNCTION DUMP");
            let payload = dumped.bytes().expect("a payload");
            let restored = to.command(&[&b"FUNCTION"[..], b"RESTORE", payload]).expect("a reply");
            assert_eq!(restored.text(), Some("OK"), "{kind}, to it: {to_peer}: {restored}");
            assert_eq!(libraries(from), libraries(to), "{kind}, to it: {to_peer}");
            assert_eq!(from.line("FCALL one_f 1 a b").to_string(), to.line("FCALL one_f 1 a b").to_string());
        }
    }
}

#[test]
fn functions_survive() {
    let mut server =
        Server::start(Kind::Spinel, &["--enable-debug-command", "yes", "--appendonly", "yes"]).expect("Spinel starts");
    let mut client = server.client();
    load(&mut client, "one");
    load(&mut client, "two");
    client.line("FUNCTION DELETE two");
    client.line("SET a 1");
    let before = libraries(&mut client);
    assert_eq!(before.len(), 1);
    assert_eq!(client.line("DEBUG RELOAD").text(), Some("OK"));
    assert_eq!(libraries(&mut client), before);
    assert_eq!(client.line("DEBUG LOADAOF").text(), Some("OK"));
    assert_eq!(libraries(&mut client), before);
    for preamble in ["yes", "no"] {
        client.line(&format!("CONFIG SET aof-use-rdb-preamble {preamble}"));
        client.line("BGREWRITEAOF");
        let rewritten =
            || client.line("INFO persistence").text().is_some_and(|info| info.contains("aof_rewrite_in_progress:0"));
        assert!(testkit::wait_until(std::time::Duration::from_secs(60), rewritten));
        assert_eq!(client.line("DEBUG LOADAOF").text(), Some("OK"));
        assert_eq!(libraries(&mut client), before, "{preamble}");
    }
    drop(client);
    server.restart(&[]).expect("it starts again");
    let mut client = server.client();
    assert_eq!(libraries(&mut client), before);
    assert_eq!(client.line("FCALL_RO one_f 1 a b").elements().map(<[Value]>::len), Some(3));
    assert_eq!(client.line("GET a").text(), Some("1"));
}

/// Damaged in any way a payload is refused, or what it holds is loaded; the server goes on, and what was there stays where it is refused.
#[test]
fn damaged_payloads_of_functions_do_no_harm() {
    let ours = start(Kind::Spinel).expect("Spinel starts");
    let mut client = ours.client();
    let seed = seed();
    println!("seed {seed}");
    let mut random = random_from(seed);
    load(&mut client, "one");
    let dumped = client.line("FUNCTION DUMP");
    let whole = dumped.bytes().expect("a payload");
    let before = libraries(&mut client);
    for _ in 0..500 {
        let mut body = whole[..whole.len() - 8].to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..body.len());
            match random.random_range(0..3) {
                0 => body[at] = random.random(),
                1 => body.truncate(at.max(1)),
                _ => body.insert(at, random.random()),
            }
        }
        body.extend(robustness::values::checksum(&body).to_le_bytes());
        let reply = client.command(&[&b"FUNCTION"[..], b"RESTORE", &body, b"FLUSH"]).expect("a reply");
        if reply.is_error() {
            assert_eq!(libraries(&mut client), before, "{reply}");
        } else {
            let again = client.command(&[&b"FUNCTION"[..], b"RESTORE", whole, b"FLUSH"]).expect("a reply");
            assert_eq!(again.text(), Some("OK"), "{again}");
        }
    }
}
