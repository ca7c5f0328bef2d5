use crate::testing::{Rig, effects};

/// A library with what is behind its header.
fn load(rig: &mut Rig, options: &[&str], name: &str, program: &str) -> String {
    let code = format!("#!lua name={name}\n{program}");
    let mut args: Vec<&[u8]> = vec![b"FUNCTION", b"LOAD"];
    args.extend(options.iter().map(|option| option.as_bytes()));
    args.push(code.as_bytes());
    String::from_utf8(rig.run_args(&args)).unwrap().trim_end().replace("\r\n", " ")
}

const F: &str = "redis.register_function('f', function(keys, args) return {keys, args} end)";

#[test]
fn libraries_come_and_go() {
    let mut rig = Rig::new();
    assert_eq!(load(&mut rig, &[], "one", F), "$3 one");
    assert_eq!(load(&mut rig, &[], "one", F), "-ERR Library 'one' already exists");
    assert_eq!(load(&mut rig, &[], "two", F), "-ERR Function f already exists");
    assert_eq!(load(&mut rig, &["replace"], "one", F), "$3 one");
    assert_eq!(load(&mut rig, &["foo"], "one", F), "-ERR Unknown option given: foo");
    assert_eq!(load(&mut rig, &[], "two", "redis.register_function(1, function() return 2 end)"), "$3 two");
    rig.script(&[
        ("FCALL f 1 a b c", "*2 *1 $1 a *2 $1 b $1 c"),
        ("FCALL F 0", "*2 *0 *0"),
        ("FCALL 1 0", ":2"),
        ("FCALL nosuch x", "-ERR Function not found"),
        ("FCALL f x", "-ERR Bad number of keys provided"),
        ("FCALL f -1", "-ERR Number of keys can't be negative"),
        ("FCALL f 2 a", "-ERR Number of keys can't be greater than number of args"),
        ("FCALL_RO f 0", "-ERR Can not execute a script with write flag using *_ro command."),
        (
            "FUNCTION STATS",
            "*4 $14 running_script $-1 $7 engines *2 $3 LUA *4 $15 libraries_count :2 $15 functions_count :2",
        ),
        ("FUNCTION LIST LIBRARYNAME x*", "*0"),
        (
            "FUNCTION LIST LIBRARYNAME O*",
            "*1 *6 $12 library_name $3 one $6 engine $3 LUA $9 functions *1 *6 $4 name $1 f $11 description $-1 $5 flags *0",
        ),
        ("FUNCTION LIST LIBRARYNAME", "-ERR library name argument was not given"),
        ("FUNCTION LIST WITHCODE WITHCODE", "-ERR Unknown argument WITHCODE"),
        ("FUNCTION DELETE ONE", "-ERR Library not found"),
        ("FUNCTION DELETE one", "+OK"),
        ("FCALL f 0", "-ERR Function not found"),
        ("FUNCTION KILL", "-NOTBUSY No scripts in execution right now."),
        ("FUNCTION FLUSH x", "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        (
            "FUNCTION FLUSH SYNC x",
            "-ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.",
        ),
        ("FUNCTION FLUSH ASYNC", "+OK"),
        ("FUNCTION LIST", "*0"),
    ]);
}

#[test]
fn headers() {
    const NAMES: &str = "-ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
    for (line, reply) in [
        ("return 1", "-ERR Missing library metadata"),
        ("#!lua name=a", "-ERR Invalid library metadata"),
        ("#!lua \"name=a\n", "-ERR Invalid library metadata"),
        ("#!lua\n", "-ERR Library name was not given"),
        ("#!\n", "-ERR Library name was not given"),
        ("#! lua\n", "-ERR Invalid metadata value given: lua"),
        ("#!lua name=a flags=no-writes\n", "-ERR Invalid metadata value given: flags=no-writes"),
        ("#!lua name=a name=b\n", "-ERR Invalid metadata value, name argument was given multiple times"),
        ("#!lua name=\n", NAMES),
        ("#!lua name=a-b\n", NAMES),
        ("#!js name=a\n", "-ERR Engine 'js' not found"),
        ("#!LUA Name='a'\r\n", "-ERR No functions registered"),
        ("#!\"lua\" name=a\nsyntax error", "-ERR Error compiling function: user_function:2: '=' expected near 'error'"),
    ] {
        let reply_here = Rig::new().run_args(&[b"FUNCTION", b"LOAD", line.as_bytes()]);
        assert_eq!(String::from_utf8_lossy(&reply_here).trim_end(), reply, "{line}");
    }
}

#[test]
fn what_a_library_does_when_it_is_loaded() {
    for (program, error) in [
        ("redis.register_function()", "wrong number of arguments to redis.register_function"),
        (
            "redis.register_function('f')",
            "calling redis.register_function with a single argument is only applicable to Lua table (representing named arguments).",
        ),
        ("redis.register_function({}, function() end)", "first argument to redis.register_function must be a string"),
        ("redis.register_function('f', 2)", "second argument to redis.register_function must be a function"),
        (
            "redis.register_function('a-b', function() end)",
            "Library names can only contain letters, numbers, or underscores(_) and must be at least one character long",
        ),
        ("redis.register_function{}", "redis.register_function must get a function name argument"),
        ("redis.register_function{function_name='f'}", "redis.register_function must get a callback argument"),
        (
            "redis.register_function{callback=1}",
            "callback argument given to redis.register_function must be a function",
        ),
        (
            "redis.register_function{function_name={}}",
            "function_name argument given to redis.register_function must be a string",
        ),
        (
            "redis.register_function{description={}}",
            "description argument given to redis.register_function must be a string",
        ),
        (
            "redis.register_function{flags=1}",
            "flags argument to redis.register_function must be a table representing function flags",
        ),
        ("redis.register_function{function_name='f',callback=function() end,flags={'x'}}", "unknown flag given"),
        ("redis.register_function{[1]=1}", "unknown argument given to redis.register_function"),
        (
            "redis.register_function('f',function() end) redis.register_function('F',function() end)",
            "Function already exists in the library",
        ),
        ("redis.log()", "redis.log() requires two arguments or more."),
        ("x = 1", "user_function:2: Attempt to modify a readonly table"),
        ("redis.x = 1", "user_function:2: Attempt to modify a readonly table"),
        ("redis.call('get', 'a')", "user_function:2: Script attempted to access nonexistent global variable 'call'"),
        ("local x = _G", "user_function:2: Script attempted to access nonexistent global variable '_G'"),
        ("local x = math", "user_function:2: Script attempted to access nonexistent global variable 'math'"),
        ("return nil + 1", "user_function:2: attempt to perform arithmetic on a nil value"),
        ("\n\nfoo()", "user_function:4: Script attempted to access nonexistent global variable 'foo'"),
        ("while true do end", "FUNCTION LOAD timeout"),
    ] {
        let mut rig = Rig::new();
        let reply = load(&mut rig, &[], "a", program);
        assert_eq!(reply, format!("-ERR Error registering functions: ERR {error}"), "{program}");
        rig.script(&[("FUNCTION LIST", "*0")]);
    }
    assert_eq!(
        load(&mut Rig::new(), &[], "a", "redis.log(redis.LOG_WARNING, redis.REDIS_VERSION)"),
        "-ERR No functions registered"
    );
}

#[test]
fn what_a_function_sees() {
    let mut rig = Rig::new();
    let program = "
        redis.register_function('globals', function() local n = 0 for _ in pairs(_G) do n = n + 1 end return n end)
        redis.register_function('redis', function() local n = 0 for _ in pairs(redis) do n = n + 1 end return n end)
        redis.register_function('keys', function() return KEYS end)
        redis.register_function('later', function() redis.register_function('x', function() end) end)
        redis.register_function('call', function(keys, args) return redis.call(unpack(args)) end)
        redis.register_function('fail', function(keys, args) error({err = args[1]}) end)
        redis.register_function{function_name = 'reads', callback = function() return redis.call('set', 'a', 1) end,
            flags = {'no-writes', 'allow-oom', 'allow-stale', 'no-cluster', 'allow-cross-slot-keys'}, description = 'it reads'}
    ";
    assert_eq!(load(&mut rig, &[], "lib", program), "$3 lib");
    rig.script(&[
        ("FCALL globals 0", ":34"),
        ("FCALL redis 0", ":20"),
        (
            "FCALL keys 0",
            "-ERR user_function:5: Script attempted to access nonexistent global variable 'KEYS' script: keys, on @user_function:5.",
        ),
        (
            "FCALL later 0",
            "-ERR user_function:6: attempt to call field 'register_function' (a nil value) script: later, on @user_function:6.",
        ),
        ("FCALL call 0 set a 1", "+OK"),
        (
            "FCALL call 0 lpush a 1",
            "-WRONGTYPE Operation against a key holding the wrong kind of value script: call, on @user_function:7.",
        ),
        ("FCALL call 0 fcall call 0", "-ERR This Redis command is not allowed from script script: call, on @user_function:7."),
        ("FCALL fail 0 'My word'", "-My word script: fail, on @user_function:8."),
        (
            "FCALL_RO reads 0",
            "-ERR Write commands are not allowed from read-only scripts. script: reads, on @user_function:9.",
        ),
    ]);
    let list = rig.run("FUNCTION LIST");
    assert!(list.ends_with(
        "$4 name $5 reads $11 description $8 it reads $5 flags *5 +no-writes +allow-oom +allow-stale +no-cluster +allow-cross-slot-keys"
    ));
}

#[test]
fn payloads() {
    let mut rig = Rig::new();
    assert_eq!(rig.run_args(&[b"FUNCTION", b"DUMP"]), b"$10\r\n\n\0\x5d\x9b\x5c\x40\x0f\x7f\xa2\xda\r\n");
    let code = format!("#!lua name=lib\n{F}");
    rig.run_args(&[b"FUNCTION", b"LOAD", code.as_bytes()]);
    let dumped = rig.run_args(&[b"FUNCTION", b"DUMP"]);
    let start = dumped.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    let payload = &dumped[start..dumped.len() - 2];
    let restore = |rig: &mut Rig, payload: &[u8], policy: &[&[u8]]| {
        let reply = rig.run_args(&[&[&b"FUNCTION"[..], b"RESTORE", payload], policy].concat());
        String::from_utf8(reply).unwrap().trim_end().to_owned()
    };
    assert_eq!(restore(&mut rig, payload, &[]), "-ERR Library lib already exists");
    assert_eq!(restore(&mut rig, payload, &[b"append"]), "-ERR Library lib already exists");
    assert_eq!(restore(&mut rig, payload, &[b"replace"]), "+OK");
    assert_eq!(restore(&mut rig, payload, &[b"flush"]), "+OK");
    assert_eq!(
        restore(&mut rig, payload, &[b"x"]),
        "-ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE."
    );
    assert_eq!(
        restore(&mut rig, payload, &[b"flush", b"x"]),
        "-ERR unknown subcommand or wrong number of arguments for 'RESTORE'. Try FUNCTION HELP."
    );
    assert_eq!(restore(&mut rig, &payload[1..], &[]), "-ERR DUMP payload version or checksum are wrong");
    rig.script(&[("FUNCTION DELETE lib", "+OK"), ("FCALL f 0", "-ERR Function not found")]);
    assert_eq!(restore(&mut rig, payload, &[]), "+OK");
    rig.script(&[("FCALL f 0", "*2 *0 *0")]);
    // What a function of another library has the name of changes nothing.
    rig.script(&[("FUNCTION FLUSH", "+OK")]);
    assert_eq!(load(&mut rig, &[], "other", F), "$5 other");
    assert_eq!(restore(&mut rig, payload, &[b"REPLACE"]), "-ERR Function f already exists");
    assert_eq!(restore(&mut rig, payload, &[b"FLUSH"]), "+OK");
    rig.script(&[("FUNCTION DELETE other", "-ERR Library not found"), ("FUNCTION DELETE lib", "+OK")]);
}

/// More than the interpreter's binding can refer to at once.
#[test]
fn thousands_of_scripts_and_functions() {
    let mut rig = Rig::new();
    for number in 0..8_200 {
        rig.run(&format!("SCRIPT LOAD 'return {number}'"));
    }
    rig.script(&[("EVAL 'return 8199' 0", ":8199")]);
    let functions: String = (0..100)
        .map(|index| format!("redis.register_function('f' .. {index}, function() return {index} end) "))
        .collect();
    for _ in 0..100 {
        assert_eq!(load(&mut rig, &["REPLACE"], "lib", &functions), "$3 lib");
    }
    rig.script(&[("FCALL f99 0", ":99")]);
}

#[test]
fn they_are_their_own_effects() {
    effects(&[
        (&format!("FUNCTION LOAD \"#!lua name=a\\n{F}\""), &format!("FUNCTION LOAD #!lua name=a\n{F}")),
        (&format!("FUNCTION LOAD \"#!lua name=a\\n{F}\""), ""),
        ("FCALL f 0", ""),
        ("FUNCTION LIST", ""),
        ("FUNCTION DELETE b", ""),
        ("FUNCTION DELETE a", "FUNCTION DELETE a"),
        ("FUNCTION FLUSH", "FUNCTION FLUSH"),
    ]);
}
