"""What is run side by side: options, commands, formats, errors, pipes, exit codes. Made by combining, so that each odd option meets
each odd reply.

Placeholders in arguments: {port} and {socket} of the server, {locked} the port of one that wants a password, {folder} an empty folder,
{tests} the folder of this file.
"""

import itertools


class Invocation:
    def __init__(self, *arguments, text=b"", terminal=False, env=None, patience=20, endless=False, only=None):
        self.arguments = list(arguments)
        self.text = text
        self.terminal = terminal
        self.env = env or {}
        # What does not end by itself is stopped once it has had time to say what it has to say.
        self.patience = 0.7 if endless else patience
        # "redis": what Spinel's server does not know yet.
        self.only = only

    def __str__(self):
        parts = [f"{name}={value}" for name, value in self.env.items()]
        parts += [repr(argument) if not argument or any(c in argument for c in " \n\"'{};") else argument
                  for argument in self.arguments]
        if self.text:
            parts.append(f"<<< {self.text!r}")
        if self.terminal:
            parts.append("(on a terminal)")
        return " ".join(parts)


# The data every invocation finds.
DATA = [
    ["FLUSHALL"],
    ["SELECT", "1"],
    ["SET", "in-one", "1"],
    ["SELECT", "0"],
    ["SET", "text", "hello"],
    ["SET", "number", "41"],
    ["SET", "empty", ""],
    ["SET", "odd", b"a\"b\\c\n\r\t\a\b\x00\x7f\x80\xff\xe2\x82\xac/"],
    ["SET", "lines", "one\ntwo\n"],
    ["SET", "odd key \x01", "x"],
    ["RPUSH", "list", *[f"element {number}" for number in range(12)]],
    ["SADD", "set", "member"],
    ["HSET", "hash", "field", "value", "other", "2"],
    ["ZADD", "zset", "1", "one", "2.5", "two and a half"],
    ["XADD", "stream", "1-1", "name", "value"],
    ["SET", "long", "x" * 5000],
]

NESTED = ("return {1,{2,{'a\\n\"b\\\\x',{}}},redis.error_reply('ERR foo'),redis.status_reply('FINE'),false,"
          "{'x',{'y',{'z'}}},{1,2,3,4,5,6,7,8,9,{10,{11}}}}")
MAPS = "redis.setresp(3); return {map={a={1,2},b={map={c={set={'d'}}}},[1]={double=1.5}}}"
BOOLEANS = "redis.setresp(3); return {true,false,{double=1e300},{double=-0.0},{set={'x'}},{map={}},{set={}}}"

COMMANDS = [
    ["PING"],
    ["PING", "two words"],
    ["GET", "text"],
    ["GET", "missing"],
    ["GET", "odd"],
    ["GET", "lines"],
    ["GET", "empty"],
    ["GET", "list"],
    ["INCR", "number"],
    ["MGET", "text", "missing", "odd", "empty"],
    ["LRANGE", "list", "0", "-1"],
    ["LRANGE", "missing", "0", "-1"],
    ["HGETALL", "hash"],
    ["HGETALL", "missing"],
    ["SMEMBERS", "set"],
    ["ZRANGE", "zset", "0", "-1", "WITHSCORES"],
    ["XRANGE", "stream", "-", "+"],
    ["EVAL", NESTED, "0"],
    ["EVAL", "return {}", "0"],
    ["NOSUCHCOMMAND", "with", "arguments"],
    ["SET", "text"],
    ["DEBUG", "PROTOCOL", "verbatim"],
    ["DEBUG", "PROTOCOL", "double"],
    ["COMMAND", "GETKEYS", "MGET", "a", "b"],
    ["CONFIG", "GET", "maxmemory"],
    ["EXISTS", "text", "list"],
    ["BLPOP", "missing", "0.05"],
]

FORMATS = [["--no-raw"], ["--raw"], ["--csv"], ["--json"], ["--quoted-json"]]


def every_format():
    for form, command in itertools.product(FORMATS, COMMANDS):
        yield Invocation(*form, *command)
    for form, command in itertools.product(FORMATS, COMMANDS):
        yield Invocation("-3", *form, *command)
    for command in COMMANDS:
        yield Invocation(*command)
        yield Invocation("-2", "--json", *command)
        yield Invocation(*command, terminal=True)
        yield Invocation("-e", *command)
    for form, script in itertools.product(FORMATS, [MAPS, BOOLEANS]):
        yield Invocation("-3", *form, "EVAL", script, "0")
    for form, kind in itertools.product(FORMATS, ["string", "integer", "null", "array", "map", "set", "true", "false", "push",
                                                  "attrib", "bignum"]):
        yield Invocation("-3", *form, "DEBUG", "PROTOCOL", kind)
    for delimiters in [["-d", ","], ["-D", "|"], ["-d", ", ", "-D", ";\n"], ["-d", ""], ["-D", ""], ["-d", "\\n"]]:
        for command in [["GET", "text"], ["MGET", "text", "missing"], ["LRANGE", "list", "0", "3"], ["EVAL", NESTED, "0"],
                        ["NOSUCH"], ["INFO", "nosuchsection"]]:
            yield Invocation(*delimiters, *command)
        yield Invocation("-3", *delimiters, "HGETALL", "hash")
        yield Invocation("--no-raw", *delimiters, "GET", "text")
        yield Invocation(*delimiters, "-r", "2", "PING")


def reports():
    """Replies that are texts for people."""
    for form in [[], *FORMATS]:
        for command in [["CLIENT", "LIST", "ID", "999999"], ["CLUSTER", "INFO"], ["INFO", "nosuchsection"], ["LATENCY", "GRAPH", "x"],
                        ["LATENCY", "DOCTOR"], ["CLIENT", "GETNAME"]]:
            yield Invocation(*form, *command)
    yield Invocation("CLIENT", "INFO", terminal=True)
    yield Invocation("INFO", "nosuchsection", terminal=True)


def options():
    for arguments in [
        ["--nosuch"], ["-"], ["--"], ["-?"], ["-P"], ["--Raw", "PING"], ["-h"], ["-p"], ["-s"], ["-a"], ["-u"], ["-n"], ["-r"], ["-i"],
        ["-d"], ["-D"], ["-X"], ["--user"], ["--pass"], ["--rdb"], ["--functions-rdb"], ["--pattern"], ["--quoted-pattern"],
        ["--eval"], ["--pipe-timeout"], ["--lru-test"], ["--intrinsic-latency"], ["--show-pushes"], ["--sni"],
        ["--cacert"], ["--cacertdir"], ["--cert"], ["--key"], ["--tls-ciphers"], ["--tls-ciphersuites"],
        ["-2", "-3", "PING"], ["-3", "-2", "--json", "PING"], ["-x", "-X", "tag", "SET", "tag"], ["--ldb"], ["--ldb-sync-mode"],
        ["-r", "0", "PING"], ["-r", "x", "PING"], ["-r", "3", "PING"], ["-r", "3x", "INCR", "number"], ["-r", "2", "-i", "0.05", "PING"],
        ["-i", "x", "-r", "2", "PING"], ["-r", "2", "NOSUCH"], ["-e", "-r", "2", "NOSUCH"], ["-r", "2", "--csv", "PING"],
        ["-n", "1", "GET", "in-one"], ["-n", "x", "PING"], ["-n", "99", "GET", "text"], ["-n", "-1", "PING"], ["-n", "1", "-3", "DBSIZE"],
        ["-n", "99", "-e", "PING"],
        ["-p", "1", "PING"], ["-p", "0", "PING"], ["-p", "abc", "PING"], ["-p", "1", "-r", "3", "PING"], ["-p", "1", "-e", "PING"],
        ["-h", "nosuchhost.invalid", "PING"], ["-h", "", "PING"], ["-s", "/nonexistent", "PING"], ["-s", "{socket}", "GET", "text"],
        ["-h", "localhost", "PING"],
        ["-u", "redis://127.0.0.1:{port}", "GET", "text"], ["-u", "redis://127.0.0.1:{port}/1", "GET", "in-one"],
        ["-u", "redis://127.0.0.1:{port}/", "PING"], ["-u", "redis://127.0.0.1:{port}/x", "PING"], ["-u", "http://x", "PING"],
        ["-u", "", "PING"], ["-u", "redis://me:secret@127.0.0.1:{port}", "PING"], ["-u", "redis://secret@127.0.0.1:{port}", "PING"],
        ["-u", "redis://a%20b:c%40@127.0.0.1:{port}", "PING"], ["-u", "REDIS://127.0.0.1:{port}", "PING"],
        ["-u", "redis://", "PING"], ["-u", "redis://127.0.0.1:1", "PING"],
        ["-a", "wrong", "PING"], ["-a", "wrong", "--no-auth-warning", "PING"], ["-a", "", "PING"], ["--pass", "wrong", "PING"],
        ["--user", "me", "PING"], ["--user", "me", "--pass", "wrong", "PING"], ["--user", "default", "-a", "x", "--no-auth-warning", "PING"],
        ["-p", "{locked}", "PING"], ["-p", "{locked}", "-a", "secret", "PING"], ["-p", "{locked}", "-a", "wrong", "PING"],
        ["-p", "{locked}", "-a", "secret", "--no-auth-warning", "-n", "1", "-3", "DBSIZE"], ["-p", "{locked}", "-3", "PING"],
        ["-p", "{locked}", "-n", "3", "PING"], ["-p", "{locked}", "-e", "PING"], ["-p", "{locked}", "--scan"],
        ["-p", "{locked}", "--bigkeys"], ["-p", "{locked}", "-a", "wrong", "--stat"],
        ["-u", "redis://default:secret@127.0.0.1:{locked}", "PING"], ["-p", "{locked}", "--json", "PING"],
        ["--show-pushes", "maybe", "PING"], ["--show-pushes", "yes", "PING"], ["--show-pushes", "n", "PING"],
        ["--raw", "--no-raw", "GET", "missing"], ["--no-raw", "--raw", "GET", "missing"], ["--csv", "--json", "GET", "text"],
        ["--json", "--csv", "GET", "text"], ["--json", "--raw", "HGETALL", "hash"], ["--verbose", "PING"],
        ["--quoted-input", "GET", '"te\\x78t"'], ["--quoted-input", "SET", '"a', "b"], ["--quoted-input", "SET", "'a b'", '"\\x00"'],
        ["--quoted-input", "GET", '"a"b'], ["--quoted-input", "GET", "te xt"],
        ["PING", "--version"], ["GET", "-h"], ["", "x"], ["SET", "key", ""], ["quit"], ["exit"], ["clear"], ["connect", "a", "b"],
        [":set", "hints"], ["3", "PING"], ["RESTART"], ["MULTI"], ["EXEC"], ["SELECT", "1"], ["AUTH", "x"], ["HELLO", "4"], ["HELLO", "x"],
        ["HELLO", "3", "AUTH", "a", "b"], ["RESET"], ["SHUTDOWN", "NOSUCH"], ["-r", "2", "SHUTDOWN", "NOSUCH"], ["PSUBSCRIBE"],
        ["-e", "SUBSCRIBE"], ["SUBSCRIBE"], ["UNSUBSCRIBE"], ["UNSUBSCRIBE", "a"], ["--no-raw", "UNSUBSCRIBE", "a", "b"],
        ["-c", "GET", "text"], ["-c", "NOSUCH"], ["-c", "-e", "NOSUCH"], ["-c", "DEBUG", "ERROR", "MOVED 1 127.0.0.1:{locked}"],
        ["-c", "--no-raw", "DEBUG", "ERROR", "MOVED 1 127.0.0.1:{locked}"], ["DEBUG", "ERROR", "MOVED 1 127.0.0.1:{locked}"],
        ["--no-raw", "DEBUG", "ERROR", "MOVED"], ["-c", "DEBUG", "ERROR", "ERR MOVED"], ["CLUSTER", "NODES"],
        ["help", "@hyperloglog"], ["help", "GET"], ["?", "append"], ["help", "nosuch"], ["help", "config", "get"], ["HELP", "set"],
    ]:
        yield Invocation(*arguments)
    yield Invocation("PING", env={"REDISCLI_AUTH": "wrong"})
    yield Invocation("-p", "{locked}", "PING", env={"REDISCLI_AUTH": "secret"})
    yield Invocation("-p", "{locked}", "-a", "secret", "PING", env={"REDISCLI_AUTH": "wrong"})
    yield Invocation("-p", "{locked}", "-u", "redis://127.0.0.1:{locked}", "PING", env={"REDISCLI_AUTH": "secret"})
    yield Invocation("-p", "{locked}", "--askpass", "PING", text=b"secret\n")
    yield Invocation("--askpass", "PING", text=b"wrong\n")
    for terminal in [["-a", "wrong", "PING"], ["--csv", "GET", "missing"], ["--raw", "GET", "odd"], ["--nosuch"], ["-e", "NOSUCH"],
                     ["-r", "2", "GET", "text"], ["-3", "HGETALL", "hash"], ["--scan"], ["--bigkeys"],
                     ["-c", "DEBUG", "ERROR", "MOVED 1 127.0.0.1:{locked}"], ["-p", "1", "PING"]]:
        yield Invocation(*terminal, terminal=True)


def arguments_from_input():
    for text in [b"value", b"", b"a\n", b"\x00\xff\"", b"x" * 100_000]:
        yield Invocation("-x", "SET", "key", text=text)
        yield Invocation("-x", "ECHO", text=text)
        yield Invocation("-X", "tag", "MSET", "tag", "1", "key", "tag", text=text)
        yield Invocation("-X", "tag", "--no-raw", "ECHO", "tag", text=text)
    yield Invocation("-X", "tag", "GET", "nothing", text=b"v")
    yield Invocation("-x", text=b"PING\n")
    yield Invocation("-X", "tag", text=b"PING\n")


def lines_from_input():
    scripts = [
        b"PING\n", b"PING", b"PING\r\nGET text\r\n", b"\n\n   \nPING\n", b"# comment\nPING\n", b"GET text\nGET missing\nNOSUCH\n",
        b"SELECT 1\nGET in-one\nSELECT 0\n", b"MULTI\nSET a 1\nINCR a\nEXEC\n", b"MULTI\nNOSUCH\nEXEC\nDISCARD\n", b"MULTI\nDISCARD\nPING\n",
        b"SET 'a b' \"c\\x41\\n\"\nGET 'a b'\n", b"GET \"open\nPING\n", b"GET 'a'b\nPING\n", b"ECHO 'it\\'s'\nECHO \"\"\nECHO ''\n",
        b"3 INCR number\n", b"0 PING\n-1 PING\n", b"1 PING\n5\n", b"quit\nPING\n", b"EXIT\nPING\n", b"restart\nPING\n", b"clear\nPING\n",
        b":set hints\nPING\n", b":set nohints\n:set nosuch\n:nosuch\n", b":set\n", b"connect\nconnect x\n", b"connect 127.0.0.1 1\nPING\n",
        b"connect 127.0.0.1 {locked}\nPING\nAUTH secret\nPING\nconnect 127.0.0.1 {port}\nGET text\n",
        b"HELLO 3\nHGETALL hash\nHELLO 2\nHGETALL hash\n", b"SELECT 99\nGET text\n", b"SELECT 1 2\n", b"AUTH x\nPING\n", b"RESET\nPING\n",
        b"help @hyperloglog\nhelp nosuch\n", b"help get\n? set\nHELP config\n", b"UNSUBSCRIBE\nPING\n", b"PUNSUBSCRIBE a\nPING\n",
        b"GET odd\nMGET text odd\n", b"DEBUG SLEEP 0\nPING\n", b"SHUTDOWN NOSUCH\nPING\n", b"EVAL 'return {1,{2}}' 0\n",
        b"HELLO 3\nCLIENT TRACKING ON\nGET text\nSET text b\nPING\n", b"GET a\x00b\nPING\n", b"CLIENT REPLY ON\nPING\n",
        b"INFO nosuchsection\nPING\n", b"CLUSTER INFO\nPING\n", b"GET\n" * 3, b"DBSIZE\nFLUSHALL\nDBSIZE\n",
    ]
    for text, form in itertools.product(scripts, [[], ["--no-raw"]]):
        yield Invocation(*form, text=text)
    for text in scripts[4:12]:
        for form in [["--csv"], ["--json"], ["-3", "--no-raw"], ["-e"], ["-r", "2"], ["-n", "1"]]:
            yield Invocation(*form, text=text)
    yield Invocation("--show-pushes", "yes", "--no-raw", text=b"HELLO 3\nCLIENT TRACKING ON\nGET text\nSET text b\nPING\nPING\n")
    yield Invocation("--show-pushes", "yes", "--csv", "-3", text=b"CLIENT TRACKING ON\nMGET text list\nSET text b\nPING\nPING\n")
    yield Invocation("-p", "1", text=b"PING\nPING\n")
    yield Invocation(text=b"CLIENT KILL TYPE normal SKIPME no\nPING 1\nPING 2\nPING 3\n")
    yield Invocation("-p", "{locked}", "-a", "wrong", text=b"PING\n")


def modes():
    for arguments in [
        ["--scan", "--pattern", "l*"], ["--scan", "--pattern", "nothing*"], ["--scan", "-n", "1"], ["--scan", "--quoted-pattern", '"l\\x2a"'],
        ["--scan", "--quoted-pattern", '"l'], ["--scan", "--no-raw", "--pattern", "odd*"], ["--scan", "--csv", "--pattern", "z*"],
        ["--scan", "--json", "--pattern", "z*"], ["--scan", "-i", "0.001", "--pattern", "s*"], ["--scan", "GET", "text"],
        ["--scan", "--pattern", "*"], ["--scan", "--no-raw"],
        ["--bigkeys"], ["--bigkeys", "--pattern", "l*"], ["--bigkeys", "-n", "1"], ["--bigkeys", "-n", "5"], ["--bigkeys", "-i", "0.001"],
        ["--bigkeys", "--csv"], ["--memkeys"], ["--memkeys", "-n", "5"], ["--memkeys-samples", "0"], ["--memkeys-samples", "1"],
        ["--memkeys", "--pattern", "s*"], ["--hotkeys"],
        ["-p", "1", "--scan"], ["-p", "1", "--bigkeys"], ["-p", "1", "--memkeys"], ["-p", "1", "--hotkeys"], ["-p", "1", "--stat"],
        ["-p", "1", "--latency"], ["-p", "1", "--latency-history"], ["-p", "1", "--pipe"], ["-p", "1", "--rdb", "x"],
        ["-p", "1", "--replica"], ["-p", "1", "--slave"], ["-p", "1", "--lru-test", "1"], ["-p", "1", "--eval", "{tests}/script.lua"],
        ["--eval", "{tests}/script.lua"], ["--eval", "{tests}/script.lua", "key", ",", "argument"],
        ["--eval", "{tests}/script.lua", "key,argument"], ["--eval", "{tests}/script.lua", "a", "b", ",", "c", ",", "d"],
        ["--eval", "{tests}/script.lua", ","], ["--eval", "{tests}/nosuch.lua"], ["--no-raw", "--eval", "{tests}/script.lua", "k", ",", "a"],
        ["--eval", "{tests}/script.lua", "--no-raw"], ["-r", "2", "--eval", "{tests}/script.lua"], ["--json", "--eval", "{tests}/script.lua", ",", "a"],
        ["--eval", "{tests}/error.lua"], ["-e", "--eval", "{tests}/error.lua"], ["--csv", "--eval", "{tests}/error.lua"],
        ["--pipe"], ["--pipe-timeout", "1", "PING"],
    ]:
        yield Invocation(*arguments)
    for text in [b"", b"PING\r\n", b"PING\n", b"SET a b\r\nLPUSH a x\r\nNOSUCH\r\nGET a\r\n", b"NOSUCH\r\n", b"GET", b"*1\r\n$4\r\nPING\r\n",
                 b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n" * 1000, b"LRANGE list 0 -1\r\nHGETALL hash\r\nGET missing\r\n",
                 b"EVAL 'return {{},{1,{2}},redis.error_reply(\"no\")}' 0\r\n", b"HELLO 3\r\nHGETALL hash\r\nSMEMBERS set\r\n"]:
        yield Invocation("--pipe", text=text)
    yield Invocation("--pipe", "--pipe-timeout", "0", text=b"PING\r\n")
    yield Invocation("--ldb", "--eval", "{tests}/script.lua", "k", text=b"step\nPING\n", only="redis")
    yield Invocation("--ldb", "--eval", "{tests}/script.lua", "k", ",", "a", text=b"nosuch\nprint\nquit\n", only="redis")
    yield Invocation("--ldb-sync-mode", "--eval", "{tests}/script.lua", text=b"continue\nPING\nquit\n", only="redis")
    yield Invocation("--ldb", "--eval", "{tests}/script.lua", text=b"restart\ncontinue\n", only="redis")
    yield Invocation("--rdb", "{folder}/dump.rdb", only="redis")
    yield Invocation("--rdb", "-", only="redis")
    yield Invocation("--functions-rdb", "{folder}/functions.rdb", only="redis")
    yield Invocation("-p", "{locked}", "--rdb", "x", only="redis")
    yield Invocation("SYNC", "x", only="redis")
    for arguments in [["SUBSCRIBE", "a"], ["--no-raw", "SUBSCRIBE", "a", "b"], ["--csv", "PSUBSCRIBE", "a*"], ["--json", "SUBSCRIBE", "a"],
                      ["-3", "SUBSCRIBE", "a"], ["-3", "--no-raw", "SSUBSCRIBE", "a"], ["MONITOR"], ["--no-raw", "MONITOR"]]:
        yield Invocation(*arguments, endless=True)
    yield Invocation(text=b"SUBSCRIBE a\nPING\n", endless=True)
    yield Invocation("--no-raw", text=b"SUBSCRIBE a\nPING\n", endless=True)
    yield Invocation(text=b"MONITOR\n", endless=True)
    yield Invocation("SUBSCRIBE", "a", terminal=True, endless=True)
    yield Invocation("CLIENT", "REPLY", "OFF", endless=True)


def all_invocations():
    seen = set()
    for invocation in itertools.chain(every_format(), reports(), options(), arguments_from_input(), lines_from_input(), modes()):
        if str(invocation) not in seen:
            seen.add(str(invocation))
            yield invocation
