//! Users and rules against real processes: what a rule forbids is refused in every form in which it can be tried, and everything that is
//! shown, refused and saved is what Redis 8.2 (for rules about databases: Valkey 9.1) shows, refuses and saves.

use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;
use robustness::{against_both, info};
use testkit::{Client, Kind, Random, Server, ServerOptions, Value, server_or_skip, wait_until};

const DEADLINE: Duration = Duration::from_secs(20);

/// The words of a line. Between single quotes a blank is none.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('\'') {
            Some(quoted) => quoted.split_once('\'').expect("a closing quote"),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = behind.trim_start();
    }
    words
}

/// The reply to a line: the text of an error or a string as it is, anything else as it is shown.
#[track_caller]
fn ask(client: &mut Client, line: &str) -> String {
    shown(&client.command(&words(line)).unwrap_or_else(|error| panic!("{line}: {error}")))
}

fn shown(reply: &Value) -> String {
    reply.text().map_or_else(|| reply.to_string(), str::to_owned)
}

#[track_caller]
fn ok(client: &mut Client, line: &str) {
    assert_eq!(ask(client, line), "OK", "{line}");
}

fn user(server: &Server) -> Client {
    let mut client = server.client();
    ok(&mut client, "AUTH u any");
    client
}

/// A rule, what it forbids, and what it leaves.
struct Case {
    rules: &'static str,
    forbidden: &'static [&'static str],
    permitted: &'static [&'static str],
}

const COMMAND: &str = "has no permissions to run the '";
const KEY: &str = "No permissions to access a key";
const CHANNEL: &str = "No permissions to access a channel";

const CASES: &[Case] = &[
    Case { rules: "+@all -get ~* &*", forbidden: &["GET a"], permitted: &["SET a 1", "MGET a"] },
    Case { rules: "+@all -@string ~* &*", forbidden: &["GET a", "SET a 1", "INCR a"], permitted: &["DEL a", "LLEN l"] },
    Case {
        rules: "-@all +@read +eval ~* &*",
        forbidden: &["SET a 1", "DEL a", "PING"],
        permitted: &["GET a", "LLEN l"],
    },
    Case {
        rules: "+@all -object|encoding ~* &*",
        forbidden: &["OBJECT ENCODING a"],
        permitted: &["OBJECT REFCOUNT zz"],
    },
    Case { rules: "+eval +object|freq ~* &*", forbidden: &["OBJECT ENCODING a", "OBJECT REFCOUNT a"], permitted: &[] },
    Case { rules: "+eval +select|0 ~* &*", forbidden: &["SELECT 1"], permitted: &["SELECT 0"] },
    Case {
        rules: "+@all ~a* &*",
        forbidden: &[
            "GET b",
            "MGET a1 b",
            "MSET a1 x b x",
            "RENAME a1 b",
            "COPY b a1",
            "COPY a1 b DB 1",
            "EVAL 'return 1' 1 b",
            "SORT a1 STORE b",
            "XREAD STREAMS a1 b 0 0",
            "ZUNIONSTORE a1 2 a2 b",
            "GEORADIUS a1 0 0 1 m STORE b",
            "BITOP AND a1 a2 b",
            "OBJECT ENCODING b",
            "EXISTS b",
            "BLPOP a1 b 0.01",
        ],
        permitted: &["GET a1", "MGET a1 a2", "DEL a1 a2", "BITOP AND a1 a2 a3"],
    },
    Case {
        rules: "+@all %R~r* %W~w* &*",
        forbidden: &[
            "GET w",
            "SET r 1",
            "SET w 1 GET",
            "SET r 1 GET",
            "GETSET w 1",
            "INCR w",
            "TTL w",
            "BITFIELD w GET u8 0",
            "BITFIELD r SET u8 0 1",
            "COPY w r",
            "RENAME r w",
            "LMOVE r w LEFT LEFT",
            "SORT w",
            "SORT r STORE r",
            "DUMP w",
            "SPOP w",
        ],
        permitted: &[
            "GET r",
            "SET w 1",
            "EXISTS w",
            "STRLEN w",
            "BITFIELD r GET u8 0",
            "COPY r w",
            "SORT r STORE w",
            "DEL w",
        ],
    },
    Case { rules: "+@all ~* &c*", forbidden: &["PUBLISH x 1", "SPUBLISH x 1"], permitted: &["PUBLISH c1 1"] },
];

/// Replies that say that it was a rule which refused.
fn is_denial(text: &str) -> bool {
    [COMMAND, KEY, CHANNEL].iter().any(|denial| text.contains(denial))
}

/// `redis.call` with the words of a line.
fn script(line: &str, call: &str) -> String {
    let quoted = |word: &String| format!("'{}'", word.replace('\\', "\\\\").replace('\'', "\\'"));
    format!("return redis.{call}({})", words(line).iter().map(quoted).collect::<Vec<_>>().join(", "))
}

fn check_forms(server: &Server, rules: &str, case: &Case) {
    let mut admin = server.client();
    ok(&mut admin, &format!("ACL SETUSER u reset on nopass {rules}"));
    let mut client = user(server);
    let may_eval = case.rules.contains("+@all") || case.rules.contains("+eval");
    for line in case.forbidden {
        let reply = ask(&mut client, line);
        assert!(reply.contains("NOPERM") && is_denial(&reply), "{rules}: {line}: {reply}");
        if case.rules.contains("+@all") {
            ok(&mut client, "MULTI");
            let reply = ask(&mut client, line);
            assert!(reply.contains("NOPERM") && is_denial(&reply), "{rules}: MULTI, {line}: {reply}");
            let reply = ask(&mut client, "EXEC");
            assert!(reply.contains("EXECABORT"), "{rules}: {line} was queued: {reply}");
        }
        // A script calls no script, and what waits does not wait.
        if may_eval && !line.starts_with("EVAL") {
            for call in ["call", "pcall"] {
                let reply = client.command(&["EVAL", &script(line, call), "0"]).expect("a reply");
                let reply = shown(&reply);
                let expected = "ERR ACL failure in script: ";
                assert!(reply.contains(expected) && is_denial(&reply), "{rules}: {call} of {line}: {reply}");
            }
        }
    }
    // The same words, called by a function.
    if case.rules.contains("+@all") {
        for (line, is_forbidden) in
            case.forbidden.iter().map(|line| (line, true)).chain(case.permitted.iter().map(|line| (line, false)))
        {
            let mut call = vec!["FCALL".to_owned(), "call".to_owned(), "0".to_owned()];
            call.extend(words(line));
            let reply = shown(&client.command(&call).expect("a reply"));
            let is_denied = reply.contains("ERR ACL failure in script: ") && is_denial(&reply);
            assert!(is_denied == is_forbidden || line.starts_with("EVAL"), "{rules}: FCALL of {line}: {reply}");
        }
    }
    for line in case.permitted {
        let reply = ask(&mut client, line);
        assert!(!is_denial(&reply), "{rules}: {line}: {reply}");
        let reply = shown(&client.command(&["EVAL", &script(line, "call"), "0"]).expect("a reply"));
        assert!(!may_eval || !reply.contains("ACL failure"), "{rules}: call of {line}: {reply}");
    }
    // What was queued while it was permitted, and is not any more when EXEC comes.
    if case.rules.contains("+@all") {
        for line in case.forbidden {
            ok(&mut admin, "ACL SETUSER u reset on nopass +@all ~* &*");
            ok(&mut client, "MULTI");
            assert_eq!(ask(&mut client, line), "QUEUED", "{line}");
            ok(&mut admin, &format!("ACL SETUSER u reset on nopass {rules}"));
            let reply = ask(&mut client, "EXEC");
            let expected = "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This \
                            command is no longer allowed for the following reason: no permission to ";
            assert!(reply.contains(expected), "{rules}: {line} was executed: {reply}");
        }
    }
}

#[test]
fn what_is_forbidden_is_refused_in_every_form() {
    const LIBRARY: &str = "#!lua name=forms\nredis.register_function('call', function(keys, args) \
                           return redis.call(unpack(args)) end)";
    against_both(&[], |server| {
        let loaded = server.client().command(&["FUNCTION", "LOAD", LIBRARY]).expect("a reply");
        assert_eq!(loaded.to_string(), "\"forms\"");
        for case in CASES {
            check_forms(server, case.rules, case);
            check_forms(server, &format!("({})", case.rules), case);
            // Another selector with what is forbidden, but not on these keys, does not help.
            check_forms(server, &format!("{} (+@read ~elsewhere)", case.rules), case);
        }
    });
}

#[test]
fn a_request_must_find_all_it_needs_in_one_selector() {
    against_both(&[], |server| {
        let mut admin = server.client();
        ok(&mut admin, "ACL SETUSER u reset on nopass +get ~x (+set ~y) (+mget ~x ~y) (+publish &c)");
        let mut client = user(server);
        for (line, expected) in [
            ("GET x", "nil"),
            ("SET y 1", "OK"),
            ("MGET x y", "\"1\"]"),
            ("SET x 1", KEY),
            ("GET y", KEY),
            ("MGET x z", KEY),
            ("DEL x", COMMAND),
            ("PUBLISH d 1", CHANNEL),
        ] {
            let reply = ask(&mut client, line);
            assert!(reply.contains(expected), "{line}: {reply}");
        }
    });
}

#[test]
fn sort_reads_other_keys_only_for_who_may_read_all() {
    against_both(&[], |server| {
        let mut admin = server.client();
        ok(&mut admin, "ACL SETUSER u reset on nopass +@all ~a* &*");
        let mut client = user(server);
        let by = "BY option of SORT denied due to insufficient ACL permissions.";
        let get = "GET option of SORT denied due to insufficient ACL permissions.";
        let all = ["SORT a BY w*", "SORT_RO a BY w*", "SORT a GET w*", "SORT a GET #", "SORT a BY nosort GET w*"];
        for line in all {
            let expected = if line.contains("BY w") { by } else { get };
            assert!(ask(&mut client, line).contains(expected), "{line}");
            ok(&mut client, "MULTI");
            assert_eq!(ask(&mut client, line), "QUEUED");
            assert!(ask(&mut client, "EXEC").contains(expected), "{line} in MULTI");
            let reply = client.command(&["EVAL", &script(line, "call"), "0"]).expect("a reply");
            assert!(shown(&reply).contains(expected), "{line} in a script");
        }
        assert_eq!(ask(&mut client, "SORT a BY nosort"), "[]");
        for rules in ["~*", "resetkeys %R~*", "resetkeys ~a* (+@all %R~*)", "resetkeys ~a* (+sort +sort_ro ~*)"] {
            ok(&mut admin, &format!("ACL SETUSER u clearselectors {rules}"));
            for line in all {
                assert_eq!(ask(&mut client, line), "[]", "{rules}: {line}");
            }
        }
        ok(&mut admin, "ACL SETUSER u clearselectors resetkeys ~a* %W~*");
        assert!(ask(&mut client, all[0]).contains(by));
    });
}

#[test]
fn channels() {
    against_both(&[], |server| {
        let mut admin = server.client();
        ok(&mut admin, "ACL SETUSER u reset on nopass +@all ~* &c* &p?");
        for (line, permitted) in [
            ("SUBSCRIBE c1 c2", true),
            ("SUBSCRIBE c1 x", false),
            ("SSUBSCRIBE c1", true),
            ("SSUBSCRIBE x", false),
            ("PSUBSCRIBE c* p?", true),
            // Less than what is permitted, but another pattern.
            ("PSUBSCRIBE c1*", false),
            ("PSUBSCRIBE c1", false),
            ("PUBLISH p1 x", true),
            ("PUBLISH p x", false),
            ("SPUBLISH x x", false),
            ("UNSUBSCRIBE x", true),
            ("PUNSUBSCRIBE x", true),
        ] {
            let reply = user(server).command(&words(line)).expect("a reply");
            assert_eq!(!reply.to_string().contains(CHANNEL), permitted, "{line}: {reply}");
        }
        let mut client = user(server);
        client.line("SUBSCRIBE c1");
        ok(&mut admin, "ACL SETUSER u resetchannels &c1");
        assert_eq!(admin.line("PUBLISH c1 x").integer(), Some(1));
        assert_eq!(client.receive().expect("a message").to_string(), r#"["message", "c1", "x"]"#);
        ok(&mut admin, "ACL SETUSER u resetchannels &c2");
        assert!(client.receive().is_err(), "a subscription to what is forbidden goes on");
    });
}

#[test]
fn commands_of_the_connection_itself_are_for_everybody() {
    against_both(&[], |server| {
        let mut admin = server.client();
        ok(&mut admin, "ACL SETUSER u reset on nopass");
        let mut client = user(server);
        for line in ["PING", "MULTI", "EXEC", "ACL WHOAMI", "CLIENT ID", "SELECT 1"] {
            assert!(ask(&mut client, line).contains("NOPERM"), "{line}");
        }
        assert!(!client.line("HELLO 2").is_error());
        assert!(ask(&mut client, "AUTH nobody x").contains("WRONGPASS"));
        assert_eq!(ask(&mut client, "RESET"), "RESET");
        assert_eq!(client.line("ACL WHOAMI").text(), Some("default"));
        ok(&mut client, "AUTH u x");
        ok(&mut client, "QUIT");
    });
}

#[test]
fn exec_that_is_refused_gives_up_the_transaction() {
    against_both(&[], |server| {
        let mut admin = server.client();
        ok(&mut admin, "ACL SETUSER u reset on nopass +@all ~* &*");
        let mut client = user(server);
        ok(&mut client, "MULTI");
        client.line("PING");
        ok(&mut admin, "ACL SETUSER u -exec");
        let expected =
            "EXECABORT Transaction discarded because of: NOPERM User u has no permissions to run the 'exec' command";
        assert!(ask(&mut client, "EXEC").contains(expected));
        ok(&mut admin, "ACL SETUSER u +exec");
        assert!(ask(&mut client, "EXEC").contains("ERR EXEC without MULTI"));
        ok(&mut client, "MULTI");
        let expected = "EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";
        assert!(ask(&mut client, "EXEC now").contains(expected));
        assert!(ask(&mut client, "DISCARD").contains("ERR DISCARD without MULTI"));
    });
}

#[test]
fn who_has_waited_is_asked_again() {
    against_both(&[], |server| {
        let mut admin = server.client();
        ok(&mut admin, "ACL SETUSER u reset on nopass +@all ~* &*");
        let mut client = user(server);
        client.queue(&["BLPOP", "l", "0"]);
        client.flush().expect("it is sent");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 1));
        ok(&mut admin, "ACL SETUSER u resetkeys");
        assert_eq!(admin.line("RPUSH l x").integer(), Some(1));
        assert!(client.receive().expect("a reply").to_string().contains("NOPERM No permissions to access a key"));
        assert_eq!(admin.line("LLEN l").integer(), Some(1));
        ok(&mut admin, "ACL SETUSER u ~*");
        client.queue(&["BLPOP", "none", "0"]);
        client.flush().expect("it is sent");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 1));
        assert_eq!(admin.line("ACL DELUSER u").integer(), Some(1));
        assert!(client.receive().is_err(), "a user who was deleted is still connected");
        assert!(wait_until(DEADLINE, || info(server, "blocked_clients") == 0));
    });
}

#[test]
fn users_come_and_go() {
    against_both(&[], |server| {
        let mut admin = server.client();
        ok(&mut admin, "ACL SETUSER u on >one +@all ~* &*");
        let mut client = server.client();
        assert!(ask(&mut client, "AUTH u two").contains("WRONGPASS"));
        ok(&mut client, "AUTH u one");
        // Who is in stays in.
        ok(&mut admin, "ACL SETUSER u off <one >two");
        assert_eq!(client.line("ACL WHOAMI").text(), Some("u"));
        assert!(ask(&mut server.client(), "AUTH u two").contains("WRONGPASS"));
        ok(&mut admin, "ACL SETUSER u on");
        ok(&mut server.client(), "AUTH u two");
        assert!(ask(&mut admin, "CLIENT KILL USER nosuch").contains("ERR No such user 'nosuch'"));
        assert_eq!(admin.line("CLIENT KILL USER u").integer(), Some(1));
        assert!(client.command(&["PING"]).is_err());
        let mut client = server.client();
        ok(&mut client, "AUTH u two");
        assert!(admin.line("CLIENT LIST").text().expect("a list").contains(" user=u "));
        assert_eq!(admin.line("ACL DELUSER u").integer(), Some(1));
        assert!(client.command(&["PING"]).is_err());
    });
}

#[test]
fn requirepass_is_the_password_of_the_default_user() {
    against_both(&["--requirepass", "foo"], |server| {
        let mut client = server.client();
        for line in ["PING", "ACL WHOAMI", "MULTI", "NOSUCH"] {
            let expected = if line == "NOSUCH" { "ERR unknown command" } else { "NOAUTH Authentication required." };
            assert!(ask(&mut client, line).contains(expected), "{line}");
        }
        assert!(ask(&mut client, "AUTH bar").contains("WRONGPASS"));
        ok(&mut client, "AUTH foo");
        ok(&mut client, "ACL SETUSER default >second");
        assert_eq!(ask(&mut client, "CONFIG GET requirepass"), r#"["requirepass", "foo"]"#);
        let mut other = server.client();
        ok(&mut other, "AUTH second");
        // The same again changes nothing; another one takes the place of all.
        ok(&mut client, "CONFIG SET requirepass foo");
        ok(&mut other, "AUTH second");
        ok(&mut client, "CONFIG SET requirepass third");
        assert!(ask(&mut other, "AUTH second").contains("WRONGPASS"));
        assert_eq!(ask(&mut other, "PING"), "PONG");
        ok(&mut client, "CONFIG SET requirepass ''");
        let mut stranger = server.client();
        assert_eq!(ask(&mut stranger, "PING"), "PONG");
        assert!(ask(&mut stranger, "AUTH x").contains("called without any password configured"));
        ok(&mut stranger, "AUTH default x");
        // A default user who is off lets nobody in.
        ok(&mut client, "ACL SETUSER admin on nopass +@all ~* &*");
        ok(&mut client, "ACL SETUSER default off");
        let mut stranger = server.client();
        assert!(ask(&mut stranger, "PING").contains("NOAUTH"));
        assert!(ask(&mut stranger, "AUTH default x").contains("WRONGPASS"));
        assert!(ask(&mut stranger, "HELLO 3").contains("NOAUTH HELLO must be called"));
        assert!(!stranger.line("HELLO 3 AUTH admin x").is_error());
        assert_eq!(stranger.line("ACL WHOAMI").text(), Some("admin"));
    });
}

// ---------------------------------------------------------------------------------------------------------------------
// Beside the real servers
// ---------------------------------------------------------------------------------------------------------------------

const WORDS: &[&str] = &[
    "on",
    "off",
    "nopass",
    "resetpass",
    ">one",
    ">two",
    "<one",
    "<two",
    "sanitize-payload",
    "skip-sanitize-payload",
    "ON",
    "NoPass",
    "#2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    "!2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    "#xyz",
    "reset",
    "clearselectors",
    "resetkeys",
    "allkeys",
    "resetchannels",
    "allchannels",
    "allcommands",
    "nocommands",
    "+@all",
    "-@all",
    "~*",
    "~a*",
    "~b",
    "~[ab]?",
    "%R~a*",
    "%W~a*",
    "%RW~c",
    "%R~*",
    "%W~*",
    "%rw~d",
    "%R",
    "%",
    "%X~a",
    "%R~",
    "~",
    "&*",
    "&c*",
    "&c1",
    "&",
    "+",
    "-",
    "",
    "foo",
    "+foo",
    "-foo",
    "+@foo",
    "-@foo",
    "+get",
    "-get",
    "+GET",
    "+set",
    "-set",
    "+mget",
    "-mset",
    "+publish",
    "-publish",
    "+subscribe",
    "+client",
    "-client",
    "+client|list",
    "-client|list",
    "+client|id",
    "+client|nosuch",
    "-client|nosuch",
    "+config|get",
    "-config|get",
    "-config",
    "+config",
    "+select|0",
    "+select|1",
    "+SELECT|Abc",
    "-select|0",
    "+select|",
    "-select",
    "+select",
    "+get|a|b",
    "+client|list|x",
    "+config|",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@string",
    "-@string",
    "+@keyspace",
    "-@dangerous",
    "+@connection",
    "-@connection",
    "+@slow",
    "-@fast",
    "+@Admin",
    "-@pubsub",
    "+@pubsub",
    "-@transaction",
    "(+get ~x)",
    "(+@all ~a* &c1)",
    "(+mget",
    "~b)",
    "( +set",
    "%W~b",
    ")",
    "()",
    "(",
    "(on)",
    "(+foo)",
    "(nopass)",
    "(~a",
    "(~* ~b)",
    "(+select|0 ~*)",
    "(-@all",
    "+@read)",
];

const ATTEMPTS: &[&str] = &[
    "get a1",
    "get b",
    "get x",
    "get ''",
    "set a1 1",
    "set b 1",
    "set a1 1 get",
    "mget a1 b",
    "mget b d",
    "mset a 1 b 2",
    "del c",
    "incr d",
    "exists a1",
    "append a1 x",
    "copy a1 b",
    "rename a1 b",
    "sort a1 by x*",
    "sort a1 store b",
    "eval 'return 1' 1 a1",
    "eval x 5 a",
    "publish c1 x",
    "publish d x",
    "subscribe c1 c2",
    "psubscribe c*",
    "psubscribe c1",
    "ssubscribe c1",
    "unsubscribe x",
    "client list",
    "client id",
    "client kill 1",
    "client",
    "config get x",
    "config set a b",
    "select 0",
    "select 1",
    "select abc",
    "ping",
    "auth x",
    "hello",
    "keys *",
    "dbsize",
    "flushall",
    "multi",
    "exec",
    "watch b",
    "acl whoami",
    "acl setuser x",
    "info",
    "debug sleep 0",
    "nosuch",
    "get",
    "get a b",
    "object encoding a1",
    "object help",
    "bitfield a1 get u8 0",
    "bitfield a1 set u8 0 1",
    "xread streams a1 b 0 0",
    "zunionstore c 2 a1 b",
    "migrate h 1 '' 0 1 keys a1 b",
    "georadius a1 0 0 1 m store b",
    "lmove a1 b left right",
    "hset a1 f v",
    "blpop a1 b 0",
    "xadd a1 * f v",
    "setrange b 0 x",
    "strlen b",
    "getdel a1",
    "sintercard 1 b",
    "spublish c1 x",
];

/// Names Redis takes although it cannot show, save or read them afterwards: see `crates/acl`.
fn is_of_redis_alone(words: &[String]) -> bool {
    let mut is_inside = false;
    words.iter().any(|word| {
        let begins = !is_inside && word.starts_with('(');
        let ends = (is_inside || begins) && word.ends_with(')');
        is_inside = (is_inside || begins) && !ends;
        word.ends_with("))") || ends && word.len() > 2 && begins && word[..word.len() - 1].ends_with(')')
    })
}

fn random_rules(random: &mut Random, words: &[&str]) -> Vec<String> {
    let count = random.random_range(1..7);
    (0..count).map(|_| (*words.choose(random).expect("there are some")).to_owned()).collect()
}

#[test]
fn random_rules_come_to_the_same_as_in_redis() {
    let mut redis = server_or_skip!(Kind::Redis82);
    let mut spinel = server_or_skip!(Kind::Spinel);
    let mut random = testkit::random_from(testkit::seed());
    let (mut theirs, mut ours) = (redis.client(), spinel.client());
    for round in 0..3000 {
        let rules = random_rules(&mut random, WORDS);
        if is_of_redis_alone(&rules) {
            continue;
        }
        let mut command = vec!["ACL".to_owned(), "SETUSER".to_owned(), "u".to_owned()];
        command.extend(rules.iter().cloned());
        let said = [&mut theirs, &mut ours].map(|client| shown(&client.command(&command).expect("a reply")));
        assert_eq!(said[0], said[1], "round {round}: {command:?}");
        for line in ["ACL LIST", "ACL GETUSER u"] {
            let said = [&mut theirs, &mut ours].map(|client| ask(client, line));
            assert_eq!(said[0], said[1], "round {round}: {line} after {command:?}");
        }
        for _ in 0..6 {
            let line = format!("ACL DRYRUN u {}", ATTEMPTS.choose(&mut random).expect("there are some"));
            let said = [&mut theirs, &mut ours].map(|client| ask(client, &line));
            if said[0].contains("User 'u' not found") {
                break;
            }
            let list = ours.line("ACL LIST");
            assert_eq!(said[0], said[1], "round {round}: {line} with {list}");
        }
        if random.random_range(0..8) == 0 {
            theirs.line("ACL DELUSER u");
            ours.line("ACL DELUSER u");
        }
    }
    assert!(redis.exit_status().is_none() && spinel.exit_status().is_none());
}

#[test]
fn random_rules_about_databases_come_to_the_same_as_in_valkey() {
    let valkey = server_or_skip!(Kind::Valkey91);
    let spinel = server_or_skip!(Kind::Spinel);
    let mut random = testkit::random_from(testkit::seed());
    let (mut theirs, mut ours) = (valkey.client(), spinel.client());
    const WORDS: &[&str] = &[
        "alldbs",
        "resetdbs",
        "db=0",
        "db=1",
        "db=0,1",
        "db=3,2,1",
        "DB=1",
        "db=",
        "db=x",
        "db=-1",
        "db=1,",
        "db=,1",
        "db=01",
        "db=2147483647",
        "db=2147483648",
        "AllDbs",
        "+@all",
        "-@all",
        "-get",
        "+get",
        "-select",
        "~*",
        "resetkeys",
        "~a*",
        "&*",
        "resetchannels",
        "(+@all ~* &* db=1)",
        "(+get ~b db=0)",
        "(+@read resetdbs)",
        "(db=x)",
        "clearselectors",
        "reset",
        "db=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15",
    ];
    const ATTEMPTS: &[&str] = &[
        "get a",
        "get b",
        "set a 1",
        "select 0",
        "select 1",
        "select x",
        "select -1",
        "move a 0",
        "move a 1",
        "move b x",
        "copy a a1 db 1",
        "copy a a1 replace db 0",
        "copy a a1 db 1 db 0",
        "copy a a1 db x",
        "swapdb 0 1",
        "swapdb 1 1",
        "swapdb 1 x",
        "swapdb 5 6",
        "flushall",
        "flushdb",
        "keys *",
        "dbsize",
        "ping",
        "info",
        "publish c x",
        "eval x 0",
        "eval x 1 a",
        "multi",
        "watch a",
        "object help",
        "lolwut",
        "randomkey",
        "scan 0",
        "script load x",
        "client id",
        "auth x",
        "migrate h 1 a 5 1",
    ];
    for round in 0..1500 {
        let rules = random_rules(&mut random, WORDS);
        let mut command = vec!["ACL".to_owned(), "SETUSER".to_owned(), "u".to_owned()];
        command.extend(rules);
        let said = [&mut theirs, &mut ours].map(|client| shown(&client.command(&command).expect("a reply")));
        assert_eq!(said[0], said[1], "round {round}: {command:?}");
        // Valkey has no `sanitize-payload`.
        let said = [&mut theirs, &mut ours].map(|client| ask(client, "ACL LIST").replace(" sanitize-payload", ""));
        assert_eq!(said[0], said[1], "round {round}: ACL LIST after {command:?}");
        for _ in 0..8 {
            let line = format!("ACL DRYRUN u {}", ATTEMPTS.choose(&mut random).expect("there are some"));
            let said = [&mut theirs, &mut ours].map(|client| ask(client, &line));
            if said[0].contains("User 'u' not found") {
                break;
            }
            let list = ours.line("ACL LIST");
            assert_eq!(said[0], said[1], "round {round}: {line} with {list}");
        }
        if random.random_range(0..4) == 0 {
            let line = format!("SELECT {}", random.random_range(0..3));
            theirs.line(&line);
            ours.line(&line);
        }
    }
}

fn with_file(kind: Kind, text: &str) -> Option<Server> {
    if testkit::program(kind).is_none() {
        testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("users.acl");
    std::fs::write(&path, text).expect("a file");
    let options = ServerOptions::new(kind).arguments(["--aclfile", path.to_str().expect("plain")]);
    let server = options.start().expect("a server that is there starts");
    // The server keeps the path; the folder has to stay as long.
    std::mem::forget(folder);
    Some(server)
}

#[test]
fn acl_files_travel_between_servers() {
    let users = "user a on >p +@all ~* &*\nuser b off #2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 %R~r* ~w &c \
                 -@all +@read -get +select|0 (~x +set) (+@all %W~y &*)\n\nuser default on nopass +@all ~*\n";
    let mut lists = Vec::new();
    let mut text = users.to_owned();
    for kind in [Kind::Redis82, Kind::Spinel, Kind::Redis82, Kind::Spinel, Kind::Redis70] {
        let Some(server) = with_file(kind, &text) else { return };
        let mut client = server.client();
        lists.push(ask(&mut client, "ACL LIST"));
        ok(&mut client, "ACL SAVE");
        let path = client.line("CONFIG GET aclfile").elements().expect("a pair")[1].text().expect("a path").to_owned();
        text = std::fs::read_to_string(path).expect("it was saved");
        ok(&mut client, "ACL LOAD");
        assert_eq!(ask(&mut client, "ACL LIST"), *lists.last().expect("one"));
    }
    // Redis 7.0 reads them too, and shows rules in an order of its own.
    assert!(lists[1..4].iter().all(|list| *list == lists[0]), "{lists:#?}");
}

#[test]
fn acl_load_takes_all_or_nothing() {
    for kind in [Kind::Redis82, Kind::Spinel] {
        let Some(server) = with_file(kind, "user a on >p +@all ~* &*\nuser g on >p +@all\n") else { return };
        let mut admin = server.client();
        let path = admin.line("CONFIG GET aclfile").elements().expect("a pair")[1].text().expect("a path").to_owned();
        let write = |text: &str| std::fs::write(&path, text).expect("a file");
        let mut of_a = server.client();
        ok(&mut of_a, "AUTH a p");
        let mut of_g = server.client();
        ok(&mut of_g, "AUTH g p");
        let before = ask(&mut admin, "ACL LIST");
        write("user a on +foo\n\nuser b )\nuser c on -@x\nfoo\nuser d ~* ~b\nuser a on\nuser a on\n");
        let said = ask(&mut admin, "ACL LOAD");
        for expected in [
            ":1: Error in applying operation '+foo': Unknown command or category name in ACL. ",
            ":3: Syntax error. ",
            ":4: Error in applying operation '-@x': Unknown command or category name in ACL. ",
            ":5 should start with user keyword followed by the username. ",
            ":6: Adding a pattern after the * pattern",
            "WARNING: Duplicate user 'a' found on line 8. ",
            "WARNING: ACL errors detected, no change to the previously active ACL rules was performed",
        ] {
            assert!(said.contains(expected), "{kind}: {expected:?} in {said}");
        }
        assert_eq!(ask(&mut admin, "ACL LIST"), before);
        std::fs::remove_file(&path).expect("it was there");
        let expected = format!("ERR Error loading ACLs, opening file '{path}': No such file or directory");
        assert!(ask(&mut admin, "ACL LOAD").contains(&expected));
        // Who stays keeps his connection, by new rules.
        write("user a off >q +@all -get\n");
        ok(&mut admin, "ACL LOAD");
        assert_eq!(of_a.line("ACL WHOAMI").text(), Some("a"));
        assert!(ask(&mut of_a, "GET x").contains("NOPERM"));
        assert!(of_g.command(&["PING"]).is_err(), "{kind}: who is gone is still connected");
    }
}

#[test]
fn users_in_the_configuration() {
    let folder = tempfile::tempdir().expect("a folder");
    for kind in [Kind::Redis82, Kind::Spinel] {
        if testkit::program(kind).is_none() {
            testkit::skip_aloud(&format!("no {kind} here (run tools/peers.sh, or build spinel)"));
            return;
        }
        let path = folder.path().join(format!("{kind}.conf"));
        std::fs::write(&path, "user a on >y ~* +@all\nuser b off ( +get ~x )\nrequirepass x\n").expect("a file");
        let folder_text = folder.path().display().to_string();
        // The file comes first among the arguments.
        let wrapped = format!("exec \"$0\" '{}' \"$@\"", path.display());
        let start =
            || ServerOptions::new(kind).wrapper(&["sh", "-c", &wrapped]).arguments(["--dir", &folder_text]).start();
        let Ok(server) = start() else { panic!("{kind} does not start") };
        let mut client = server.client();
        ok(&mut client, "AUTH x");
        ok(&mut client, "ACL SETUSER c on >z (~k +set)");
        assert_eq!(client.line("ACL DELUSER b").integer(), Some(1));
        ok(&mut client, "CONFIG REWRITE");
        let list = ask(&mut client, "ACL LIST");
        drop(server);
        let text = std::fs::read_to_string(&path).expect("it was rewritten");
        assert!(!text.contains("user b") && text.contains("user c on ") && !text.contains(">y"), "{kind}: {text}");
        let server = start().expect("the file that it has written itself");
        let mut client = server.client();
        ok(&mut client, "AUTH x");
        assert_eq!(ask(&mut client, "ACL LIST"), list, "{kind}");
    }
}
