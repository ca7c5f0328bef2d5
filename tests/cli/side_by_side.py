"""Runs redis-cli 7.0 and Spinel's client with the same words against the same data, on Redis 8.2 and on Spinel, and compares what they
print and how they end.

What may differ is in DIFFERENCES, each with its reason; one that does not differ any more is an error too.
"""

import itertools
import os
import pathlib
import re
import sys
import tempfile

from harness import REAL_CLI, REAL_SERVER, SPINEL, Done, Server, encode, run_on_terminal, run_piped
from invocations import DATA, all_invocations

TESTS = str(pathlib.Path(__file__).resolve().parent)


class Difference:
    def __init__(self, reason, applies, after=None):
        self.reason, self.applies, self.after = reason, applies, after
        self.met = 0

    def explains(self, invocation, real, ours):
        """Whether the two are equal but for this. `after` turns the real one's answer into what ours must be."""
        if not self.applies(invocation):
            return False
        if self.after is not None:
            expected = self.after(real)
            return (expected.output, expected.errors, expected.status) == (ours.output, ours.errors, ours.status)
        return True


def words(*wanted):
    return lambda invocation: all(word in invocation.arguments for word in wanted)


def without_carriage_return(done):
    return Done(done.status, done.output, done.errors.replace(b"\r\n", b"\n"))


DIFFERENCES = [
    Difference("our own words of help", lambda invocation: invocation.arguments == ["-h"]),
    Difference("redis-cli 7.0 does not know RESP3's attributes and calls them a protocol error; 8.2 and we pass over them",
               words("attrib")),
    Difference("redis-cli 7.0 does not know RESP3's big numbers; 8.2 and we print their digits", words("bignum")),
    Difference("--quoted-json of redis-cli leaves quotation marks within strings as they are, which is no JSON",
               words("--quoted-json"), lambda done: Done(done.status, done.output.replace(b'a\\n\\"b', b'a\\n\\\\\\"b')
                                                         .replace(b'a\\\\n\\\\"b', b'a\\\\n\\\\\\"b')
                                                         .replace(b'"a\\\\"b', b'"a\\\\\\"b'), done.errors)),
    Difference("the server has closed the connection before the command is sent: redis-cli loses the command, we connect again first",
               lambda invocation: b"CLIENT KILL" in invocation.text),
    Difference("UNSUBSCRIBE of several channels has as many replies: redis-cli 7.0 reads one, and takes the others for the next "
               "command's", words("UNSUBSCRIBE", "a", "b")),
    Difference("CLIENT REPLY OFF has no reply, which redis-cli awaits for ever", words("CLIENT", "REPLY", "OFF")),
    Difference("redis-cli prints the carriage return behind a server's refusal of SYNC",
               lambda invocation: "--rdb" in invocation.arguments or "SYNC" in invocation.arguments, without_carriage_return),
]

# What is different from run to run.
CHANGING = [
    (rb"(\bid\b[^0-9\n]{0,16}\n?(?: ?8\) \(integer\) )?)\d+", rb"\1ID"),
    (rb"(addr|laddr|fd|age|idle|qbuf|qbuf-free|argv-mem|rbs|rbp|omem|tot-mem|obl|oll|tot-net-in|tot-net-out|tot-cmds|io-thread)=\S+",
     rb"\1=."),
    (rb"\d+\.\d+ \[", b"TIME ["),
    (rb"127\.0\.0\.1:\d{4,5}", b"ADDRESS"),
    # Which of them has been run.
    (re.escape(str(REAL_CLI).encode()), b"redis-cli"),
    # How many bytes the metadata of a snapshot take.
    (rb"after \d+ bytes", b"after N bytes"),
    (rb"\(\d+\.\d\ds\)", b"(TIME)"),
]


def steady(text):
    for pattern, replacement in CHANGING:
        text = re.sub(pattern, replacement, text)
    # redis-cli lists types in the order of a table with a random seed.
    summary = rb"((?:Biggest +\S+ found .*\r?\n)+|(?:\d+ \S+s with .*\r?\n)+)"
    return re.sub(summary, lambda found: b"".join(sorted(found[0].splitlines(True))), text)


def fill(text, places):
    for name, value in places.items():
        text = text.replace("{%s}" % name, value)
    return text


def run(program, invocation, places):
    arguments = [fill(argument, places) for argument in invocation.arguments]
    text = invocation.text
    for name in ("port", "locked"):
        text = text.replace(b"{%s}" % name.encode(), places[name].encode())
    env = {"PATH": os.environ["PATH"], "HOME": places["folder"], "TERM": "xterm", **invocation.env}
    command = [*program, "-p", places["port"], *arguments]
    if invocation.terminal:
        done = run_on_terminal(command, env, invocation.patience)
    else:
        done = run_piped(command, text, env, invocation.patience)
    return Done(done.status, steady(done.output), steady(done.errors))


def reset(server):
    server.ask(b"".join(encode(command) for command in DATA), len(DATA))


def is_scanning(invocation):
    return any(word.startswith(("--bigkeys", "--memkeys")) for word in invocation.arguments)


def run_both(server, invocation, places):
    both = []
    for program in ([str(REAL_CLI)], [SPINEL, "cli"]):
        reset(server)
        both.append(run(program, invocation, places))
    real, ours = both
    if "--scan" in invocation.arguments:
        # Whether a table is just growing decides on the order, and that is the server's affair.
        for done in both:
            done.output = b"".join(sorted(done.output.splitlines(True)))
    # The data in a snapshot on standard output are the server's; the times in it are not.
    if invocation.arguments[:2] == ["--rdb", "-"]:
        real.output, ours.output = real.output[:9], ours.output[:9]
    return real, ours


def is_same(real, ours):
    return (real.output, real.errors, real.status) == (ours.output, ours.errors, ours.status)


def compare(label, server, locked, invocations, folder):
    failures = 0
    for invocation in invocations:
        places = {"port": str(server.port), "locked": str(locked.port), "socket": server.socket, "folder": folder, "tests": TESTS}
        real, ours = run_both(server, invocation, places)
        # Whether a table is just growing also decides on which page a key comes, hence on the percentages: a difference of the clients
        # is there each time, one of the tables' state is not.
        for _ in range(4 if is_scanning(invocation) else 0):
            if is_same(real, ours):
                break
            real, ours = run_both(server, invocation, places)
        if is_same(real, ours):
            continue
        explained = [difference for difference in DIFFERENCES if difference.explains(invocation, real, ours)]
        if explained:
            explained[0].met += 1
            continue
        failures += 1
        print(f"DIFFERENT on {label}: redis-cli {invocation}")
        for what in ("status", "output", "errors"):
            one, other = getattr(real, what), getattr(ours, what)
            if one != other:
                print(f"    {what} of redis-cli: {shorten(one)}\n    {what} of ours:      {shorten(other)}")
    return failures


def shorten(value):
    if not isinstance(value, bytes):
        return value
    return repr(value if len(value) < 700 else value[:700] + b"...")


def main():
    chosen = [invocation for invocation in all_invocations() if all(word in str(invocation) for word in sys.argv[1:])]
    # Snapshots without a fork's delay: --rdb need not wait for other replicas to come.
    servers = {"redis 8.2": Server(REAL_SERVER, "--repl-diskless-sync-delay", "0"), "spinel": Server(SPINEL)}
    locked = Server(REAL_SERVER, "--requirepass", "secret", "--repl-diskless-sync-delay", "0")
    failures = count = 0
    try:
        with tempfile.TemporaryDirectory() as folder:
            for label, server in servers.items():
                some = [invocation for invocation in chosen if invocation.only is None or label.startswith(invocation.only)]
                count += len(some)
                failures += compare(label, server, locked, some, folder)
    finally:
        for server in itertools.chain(servers.values(), [locked]):
            server.stop()
    assert len(DIFFERENCES) <= 15
    for difference in DIFFERENCES:
        if not difference.met and not sys.argv[1:]:
            failures += 1
            print(f"NO LONGER DIFFERENT: {difference.reason}")
    allowed = sum(difference.met for difference in DIFFERENCES)
    print(f"tests/cli/side_by_side.py: {len(chosen)} invocations, {count} comparisons, {failures} unexplained, "
          f"{allowed} explained by {len(DIFFERENCES)} reasons")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
