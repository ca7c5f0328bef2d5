use crate::testing::{Rig, effects, script};

#[test]
fn values_become_replies() {
    script(&[
        ("EVAL 'return 1.9' 0", ":1"),
        ("EVAL 'return {1,2,nil,4}' 0", "*2 :1 :2"),
        ("EVAL 'return true' 0", ":1"),
        ("EVAL 'return false' 0", "$-1"),
        ("EVAL \"return {ok='fine'}\" 0", "+fine"),
        ("EVAL \"return {err='My Err'}\" 0", "-My Err"),
        ("EVAL \"return redis.error_reply('oneword')\" 0", "-ERR oneword"),
        ("EVAL 'return {double=3.5}' 0", "$3 3.5"),
        ("EVAL 'return {map={a=1}}' 0", "*2 $1 a :1"),
        ("EVAL 'return {set={a=1}}' 0", "*1 $1 a"),
        ("EVAL 'return {0/0, 1e300}' 0", "*2 :-9223372036854775808 :-9223372036854775808"),
        ("EVAL 'return function() end' 0", "$-1"),
        ("EVAL \"local t = {'l'} for i=1,7000 do t[i+1]='x' end return redis.call('rpush', unpack(t))\" 0", ":7000"),
        ("EVAL 'return {KEYS[1],KEYS[2],ARGV[1],#KEYS,#ARGV}' 2 a b c", "*5 $1 a $1 b $1 c :2 :1"),
    ]);
}

#[test]
fn deep_and_wide_tables() {
    let mut rig = Rig::new();
    let reply = rig.run("EVAL 'local a = {} a[1] = a return a' 0");
    assert!(reply.ends_with("*1 -ERR reached lua stack limit"));
    let reply = rig.run("EVAL 'local t = {} for i=1,20000 do t[i]=i end return {map=t}' 0");
    assert!(reply.starts_with("*40000 "));
    let reply = rig.run("EVAL 'local t = {} for i=1,20000 do t[i]=i end return {set=t}' 0");
    assert!(reply.starts_with("*20000 "));
}

#[test]
fn commands_and_their_replies() {
    script(&[
        ("EVAL \"return redis.call('set','k',1.5)\" 0", "+OK"),
        ("EVAL \"return redis.call('get','k')\" 0", "$3 1.5"),
        ("EVAL \"redis.call('set','k',3) return redis.call('incr','k')\" 0", ":4"),
        ("EVAL \"return redis.call('get','none') == false\" 0", ":1"),
        ("EVAL \"redis.setresp(3) return redis.call('get','none') == nil\" 0", ":1"),
        ("HSET h f v", ":1"),
        ("EVAL \"redis.setresp(3) return redis.call('hgetall','h').map.f\" 0", "$1 v"),
        ("EVAL \"return redis.call('blpop','nolist',0)\" 0", "$-1"),
        ("EVAL \"redis.call('select',3) redis.call('set','there','x') return 1\" 0", ":1"),
        ("GET there", "$-1"),
        (
            "EVAL \"return redis.pcall('lpush','k','a')\" 0",
            "-WRONGTYPE Operation against a key holding the wrong kind of value",
        ),
        (
            "EVAL \"return redis.call('lpush','k','a')\" 0",
            "-WRONGTYPE Operation against a key holding the wrong kind of value script: \
             7127758f93fcae4b6a6a6caf9347e4d907776dbb, on @user_script:1.",
        ),
    ]);
}

#[test]
fn what_a_script_must_not_do() {
    let refused = |text: &str, program: &str| {
        let mut rig = Rig::new();
        let reply = rig.run_args(&[b"EVAL", program.as_bytes(), b"0"]);
        let reply = String::from_utf8(reply).unwrap();
        assert!(reply.starts_with(&format!("-ERR {text}")), "{program}: {reply}");
    };
    refused("Unknown Redis command called from script script: ", "return redis.call('nosuch')");
    refused("Wrong number of args calling Redis command from script script: ", "return redis.call('get')");
    refused("This Redis command is not allowed from script script: ", "return redis.call('multi')");
    refused("Please specify at least one argument for this redis lib call script: ", "redis.call()");
    refused("Lua redis lib command arguments must be strings or integers script: ", "redis.call('set','k',{})");
    refused(
        "Error compiling script (new function): user_script:1: '<eof>' expected near 'error'",
        "return syntax error",
    );
    refused("user_script:1: Script attempted to access nonexistent global variable 'x' script: ", "return x");
    refused("user_script:1: Script attempted to access nonexistent global variable 'io' script: ", "return io");
    for program in
        ["x=1", "_G.x=1", "string.x=1", "redis.x=1", "KEYS=1", "getmetatable(_G).x=1", "getmetatable('').x=1"]
    {
        refused("user_script:1: Attempt to modify a readonly table script: ", program);
    }
    refused("Attempt to modify a readonly table script: ", "setmetatable(_G,{})");
    refused("Attempt to modify a readonly table script: ", "rawset(redis,'x',1)");
    refused("user_script:3: boom script: ", "\n\nerror('boom')");
    refused("nil script: ", "error()");
    refused("unknown error script: ", "error({foo=1})");
    refused("user_script:1: stack overflow", "local function f() return f() + 1 end return f()");
    refused("not enough memory", "return string.rep('x', 1e10)");
    refused(
        "Write commands are not allowed from read-only scripts. script: ",
        "#!lua flags=no-writes\nredis.call('set','a','1')",
    );
    refused("Unexpected flag in script shebang: a", "#!lua flags=a\nreturn 1");
    refused("Unknown lua shebang option: name=x", "#!lua name=x\nreturn 1");
    refused("Unexpected engine in script shebang: #!x", "#!x\nreturn 1");
    refused("Invalid script shebang", "#!lua");
}

#[test]
fn libraries_can_be_listed_and_bytecode_is_not_loaded() {
    script(&[
        ("EVAL \"local n = 0 for _ in pairs(redis) do n = n + 1 end return n\" 0", ":23"),
        ("EVAL \"return loadstring('return 1')()\" 0", ":1"),
        ("EVAL \"return loadstring(string.dump(function() return 1 end))\" 0", "$-1"),
        (
            "EVAL \"return ({pcall(function() redis.call('nosuch') end)})[2]\" 0",
            "$44 ERR Unknown Redis command called from script",
        ),
        (
            "EVAL \"table.insert(math, 1) return 1\" 0",
            "-ERR Attempt to modify a readonly table script: 9f9600953c4ad9a2be6d5fdc0ca3de4fee6c4d0b, on @user_script:1.",
        ),
        ("EVAL \"return rawget(math, 1)\" 0", "$-1"),
        ("EVAL \"return ('x'):rep(3)\" 0", "$3 xxx"),
        ("EVAL \"return {math.random(100), math.random(100)}\" 0", "*2 :40 :85"),
    ]);
}

#[test]
fn scripts_by_digest() {
    const ONE: &str = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
    script(&[
        (&format!("EVALSHA {ONE} 0"), "-NOSCRIPT No matching script. Please use EVAL."),
        ("EVALSHA abc x", "-NOSCRIPT No matching script. Please use EVAL."),
        (&format!("EVALSHA {ONE} x"), "-ERR value is not an integer or out of range"),
        ("SCRIPT LOAD 'return 1'", &format!("$40 {ONE}")),
        (&format!("EVALSHA {} 0", ONE.to_uppercase()), ":1"),
        (&format!("EVALSHA_RO {ONE} 1 k"), ":1"),
        (&format!("SCRIPT EXISTS {ONE} abc"), "*2 :1 :0"),
        (&format!("SCRIPT SHOW {ONE}"), "$8 return 1"),
        ("SCRIPT FLUSH x", "-ERR SCRIPT FLUSH only support SYNC|ASYNC option"),
        ("SCRIPT FLUSH ASYNC", "+OK"),
        (&format!("SCRIPT EXISTS {ONE}"), "*1 :0"),
        ("SCRIPT KILL", "-NOTBUSY No scripts in execution right now."),
        ("SCRIPT DEBUG no", "+OK"),
        ("SCRIPT DEBUG x", "-ERR Use SCRIPT DEBUG YES/SYNC/NO"),
        ("EVAL 'return 1' -1", "-ERR Number of keys can't be negative"),
        ("EVAL 'return 1' 2 a", "-ERR Number of keys can't be greater than number of args"),
    ]);
}

#[test]
fn one_unit_of_effects() {
    effects(&[
        (
            "EVAL \"redis.call('set',KEYS[1],1) redis.call('get','a') redis.call('incr',KEYS[1])\" 1 a",
            "set a 1; incr a",
        ),
        ("EVAL \"redis.call('select',3) redis.call('set','b',1)\" 0", "[3] set b 1"),
        ("EVAL 'return 1' 0", ""),
        ("MULTI", ""),
        ("SET a 1", ""),
        ("EVAL \"return redis.call('del','a')\" 0", ""),
        ("EXEC", "SET a 1; del a"),
    ]);
}

#[test]
fn a_watched_key_and_a_waiting_client() {
    let mut rig = Rig::new();
    rig.client(2).run("BLPOP l 0");
    rig.client(3).script(&[("WATCH l", "+OK"), ("MULTI", "+OK"), ("EXEC", "*0"), ("WATCH l", "+OK"), ("MULTI", "+OK")]);
    rig.client(1).script(&[("EVAL \"return redis.call('rpush','l','a','b')\" 0", ":2")]);
    assert_eq!(rig.unblocked(), [(2, "*2 $1 l $1 a".to_owned())]);
    rig.client(3).script(&[("EXEC", "*-1")]);
}

#[test]
fn where_memory_is_full_a_script_may_go_on_with_what_it_has_begun() {
    const FULL: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    let mut rig = Rig::new();
    rig.script(&[
        ("CONFIG SET maxmemory 1", "+OK"),
        ("EVAL \"return redis.call('get', 'a')\" 0", "$-1"),
        ("EVAL \"redis.call('del', 'none'); return redis.call('set', 'a', '1')\" 0", "+OK"),
        ("EVAL \"return redis.pcall('set', 'b', '1')\" 0", &format!("-{FULL}")),
        ("EVAL \"redis.pcall('set', 'b', '1'); return redis.pcall('set', 'b', '1')\" 0", &format!("-{FULL}")),
        ("EVAL \"#!lua flags=allow-oom\\nreturn redis.call('set', 'c', '1')\" 0", "+OK"),
        ("EVAL \"#!lua flags=no-writes\\nreturn redis.call('get', 'c')\" 0", "$1 1"),
    ]);
    let reply = rig.run("EVAL \"return redis.call('set', 'b', '1')\" 0");
    assert!(reply.starts_with(&format!("-{FULL} script: ")), "{reply}");
}

/// Scripts that would never end by themselves; that they are slow is known after 1 ms.
#[test]
fn a_slow_script_can_be_killed_unless_it_has_written() {
    const KILLED: &str = "-ERR Script killed by user with SCRIPT KILL... script: ";
    const BUSY: &str = "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.";
    const UNKILLABLE: &str = "-UNKILLABLE Sorry the script already executed write commands against the dataset. You can either \
                              wait the script termination or kill the server in a hard way using the SHUTDOWN NOSAVE command.";
    let mut rig = Rig::new();
    rig.script(&[("CONFIG SET busy-reply-threshold 1", "+OK")]);
    for endless in [
        "while true do end",
        "redis.call('get','a') while true do pcall(function() while true do end end) end",
        "coroutine.resume(coroutine.create(function() while true do end end)) return 1",
        "xpcall(function() while true do end end, function() return 1 end) return 1",
        "redis.call('publish','a','b') while true do end",
    ] {
        rig.meanwhile = vec!["SHUTDOWN", "SHUTDOWN SAVE", "SCRIPT KILL"];
        let reply = rig.run_args(&[b"EVAL", endless.as_bytes(), b"0"]);
        assert!(reply.starts_with(KILLED.as_bytes()), "{endless}: {}", String::from_utf8_lossy(&reply));
        assert_eq!(std::mem::take(&mut rig.heard), [BUSY, BUSY, "+OK"]);
    }
    for writing in ["redis.call('set','a',1)", "redis.pcall('set','a',1,'bad')", "redis.call('del','none')"] {
        let script = format!("{writing} for i=1,3000000 do end return 7");
        rig.meanwhile = vec!["SCRIPT KILL"];
        assert_eq!(rig.run_args(&[b"EVAL", script.as_bytes(), b"0"]), b":7\r\n");
        assert_eq!(std::mem::take(&mut rig.heard), [UNKILLABLE]);
    }
    rig.script(&[("SCRIPT KILL", "-NOTBUSY No scripts in execution right now."), ("EVAL 'return 1' 0", ":1")]);
}

/// Once: where it happened, or where the script has returned it.
#[test]
fn errors_of_scripts_are_counted() {
    let bad_argument = "redis.pcall('get',{})";
    for (script, expected) in [
        ("return {err='My Err'}".to_owned(), &[("My", 1)][..]),
        ("return {err='nospace'}".to_owned(), &[("ERR", 1)]),
        ("return {redis.error_reply('x'),{map={a={err='Q r'}}}}".to_owned(), &[("ERR", 1), ("Q", 1)]),
        ("return {err='A b',ignore_error_stats_update=true}".to_owned(), &[]),
        ("return {err='A b',ignore_error_stats_update=1}".to_owned(), &[("A", 1)]),
        ("return {err=1}".to_owned(), &[]),
        ("return redis.pcall()".to_owned(), &[("ERR", 1)]),
        ("redis.pcall() return 1".to_owned(), &[]),
        (format!("return {bad_argument}"), &[("ERR", 1)]),
        (format!("{bad_argument} return 1"), &[]),
        (format!("error({bad_argument})"), &[("ERR", 1)]),
        ("redis.sha1hex()".to_owned(), &[("ERR", 1)]),
    ] {
        let mut rig = Rig::new();
        rig.run(&format!("EVAL \"{script}\" 0"));
        let errors = rig.host.stats[0].errors.lock();
        let errors: Vec<(&str, u64)> = errors.iter().map(|(code, count)| (code.as_str(), *count)).collect();
        assert_eq!(errors, expected, "{script}");
    }
}

/// As in Redis, an error is a table to `redis.pcall`, and its text to `pcall`.
#[test]
fn errors_that_a_script_catches() {
    let caught = |call: &str| format!("EVAL \"local ok, text = pcall({call}) return {{ok and 1 or 0, text}}\" 0");
    for (call, text) in [
        ("redis.sha1hex", "ERR wrong number of arguments"),
        ("redis.log", "ERR redis.log() requires two arguments or more."),
        ("redis.log,'x','y'", "ERR First argument must be a number (log level)."),
        ("redis.log,9,'y'", "ERR Invalid log level."),
        ("redis.setresp", "ERR redis.setresp() requires one argument."),
        ("redis.setresp,9", "ERR RESP version must be 2 or 3."),
        ("redis.set_repl", "ERR redis.set_repl() requires one argument."),
        ("redis.acl_check_cmd,'nosuch'", "ERR Invalid command passed to redis.acl_check_cmd()"),
        ("error,{err='MINE'}", "MINE"),
        ("error,'plain'", "plain"),
    ] {
        let mut rig = Rig::new();
        assert_eq!(rig.run(&caught(call)), format!("*2 :0 ${} {text}", text.len()));
    }
}
