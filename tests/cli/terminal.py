"""The prompt in a real terminal (tmux, 80 by 24): completion, hints, history search, several lines, Ctrl-C, SUBSCRIBE and the way out of
it, resizing, lost servers, the live screen.

With `--write` the screens in docs/cli.md are taken anew.
"""

import itertools
import os
import pathlib
import re
import shlex
import socket
import subprocess
import sys
import tempfile

from harness import ROOT, SPINEL, Server, encode, wait_until

# Each terminal has a tmux of its own: one that is just ending takes no new window.
SOCKETS = (f"spinel-cli-test-{os.getpid()}-{number}" for number in itertools.count())
OPEN = set()
DOCUMENT = ROOT / "docs/cli.md"
SCREENS = {}


def tmux(socket, *arguments):
    return subprocess.run(["tmux", "-L", socket, "-f", "/dev/null", *arguments], check=True, capture_output=True, text=True).stdout


class Terminal:
    """One window with the client in it."""

    def __init__(self, *options, home, columns=80, rows=24, env=()):
        words = ["env", "-u", "NO_COLOR", f"HOME={home}", "TERM=screen-256color", "PAGER=cat", *env, SPINEL, "cli", *options]
        self.socket = next(SOCKETS)
        OPEN.add(self.socket)
        tmux(self.socket, "new-session", "-d", "-s", "cli", "-x", str(columns), "-y", str(rows), shlex.join(words) + "; echo 'left the client'; cat")

    def screen(self):
        return "\n".join(line.rstrip() for line in tmux(self.socket, "capture-pane", "-p", "-t", "cli").rstrip("\n").split("\n"))

    def keys(self, *keys):
        tmux(self.socket, "send-keys", "-t", "cli", *keys)

    def type(self, text):
        tmux(self.socket, "send-keys", "-l", "-t", "cli", text)

    def line(self, text):
        self.type(text)
        self.keys("Enter")

    def shows(self, pattern, seconds=15):
        """Waits until the screen holds this, and returns the screen."""
        seen = [""]

        def found():
            seen[0] = self.screen()
            return re.search(pattern, seen[0], re.M)

        try:
            wait_until(found, seconds)
        except AssertionError:
            raise AssertionError(f"the screen never showed {pattern!r}:\n{seen[0]}") from None
        return seen[0]

    def resize(self, columns, rows):
        tmux(self.socket, "resize-window", "-t", "cli", "-x", str(columns), "-y", str(rows))

    def close(self):
        tmux(self.socket, "kill-server")
        OPEN.discard(self.socket)


def keep(name, screen, port):
    SCREENS[name] = screen.replace(str(port), "6379").rstrip()


def four_digit_port():
    """So that the usual 6379 can take its place in the document."""
    for port in range(7000, 10000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def start_server(port=None):
    import harness
    port = port or four_digit_port()
    before = harness.free_port
    harness.free_port = lambda: port
    try:
        return Server(SPINEL)
    finally:
        harness.free_port = before


def completion_and_hints(server, home):
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(rf"127\.0\.0\.1:{server.port}>")
    terminal.type("getr")
    terminal.keys("Tab")
    terminal.shows(r"> getrange key start end$")
    terminal.keys("C-u")
    terminal.type("config ge")
    terminal.keys("Tab")
    terminal.shows(r"> config get parameter")
    terminal.keys("C-u")
    terminal.type("SET greeting ")
    terminal.shows(r"SET greeting value \[NX\|XX")
    keep("hints", terminal.screen(), server.port)
    terminal.type("hello keep")
    terminal.keys("Tab")
    terminal.shows(r"SET greeting hello KEEPTTL|SET greeting hello keepttl")
    terminal.keys("Enter")
    terminal.shows(r"^OK$")
    terminal.type("geo")
    terminal.keys("Tab", "Tab")
    terminal.shows(r"geoadd\s+georadius")
    keep("completion", terminal.screen(), server.port)
    terminal.keys("C-u")
    terminal.line(":set nohints")
    terminal.type("get")
    terminal.shows(r"> get$")
    terminal.close()


def history(server, home):
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(r"127")
    terminal.line("incrby counter 41")
    terminal.shows(r"\(integer\) 41")
    terminal.line("AUTH nobody hush")
    terminal.shows(r"\(error\)")
    terminal.line("ping")
    terminal.shows(r"PONG")
    terminal.keys("C-r")
    terminal.type("incr")
    terminal.shows(r"incrby counter 41")
    keep("search", terminal.screen(), server.port)
    terminal.keys("Enter")
    terminal.shows(r"\(integer\) 82")
    terminal.line("quit")
    terminal.shows("left the client")
    terminal.close()
    kept = (pathlib.Path(home) / ".rediscli_history").read_text()
    assert "incrby counter 41\n" in kept, kept
    assert "hush" not in kept, "a password is in the history"
    # The next session begins with it.
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(r"127")
    terminal.keys("Up", "Up")
    terminal.shows(r"> incrby counter 41|> ping")
    terminal.close()


def several_lines(server, home):
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(r"127")
    terminal.line('set poem "roses are red,')
    terminal.line("violets")
    terminal.line('are blue"')
    terminal.shows(r"^OK$")
    terminal.line("get poem")
    terminal.shows(r'"roses are red,\\nviolets\\nare blue"')
    keep("lines", terminal.screen(), server.port)
    # An open quote is given up with Ctrl-C, and the prompt stays.
    terminal.line('set poem "never')
    terminal.keys("C-c")
    terminal.line("get poem")
    terminal.shows(r'blue"\n(.*\n)*.*blue"')
    terminal.close()


def interrupting(server, home):
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(r"127")
    terminal.line("select 3")
    terminal.shows(r":\d+\[3\]>")
    terminal.line("blpop nothing 0")
    wait_until(lambda: b"blocked_clients:1" in server.ask(b"INFO clients\r\n", 8), what="the blocked client")
    terminal.keys("C-c")
    wait_until(lambda: b"blocked_clients:0" in server.ask(b"INFO clients\r\n", 8), what="the end of blocking")
    terminal.line("set after interrupt")
    terminal.shows(r"^OK$\n.*\[3\]>")
    terminal.line("multi")
    terminal.shows(r"\(TX\)>")
    terminal.line("set in transaction")
    terminal.shows("QUEUED")
    terminal.line("exec")
    terminal.shows(r"1\) OK")
    terminal.line("monitor")
    # The client's own OK, and then what others do.
    terminal.shows(r"monitor\nOK")
    server.ask(encode(["ECHO", "seen by monitor"]))
    terminal.shows("seen by monitor")
    terminal.keys("C-c")
    terminal.line("ping")
    terminal.shows(r"> ping\nPONG")
    terminal.close()


def subscribing(server, home):
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(r"127")
    terminal.line("subscribe news")
    terminal.shows(r"Reading messages")
    wait_until(lambda: server.ask(encode(["PUBLISH", "news", "first"])).strip() == b":1", what="a subscriber")
    terminal.shows(r'3\) "first"')
    terminal.keys("x")
    terminal.shows(r"\(subscribed mode\)>")
    terminal.line("subscribe weather")
    terminal.shows(r'2\) "weather"')
    wait_until(lambda: server.ask(encode(["PUBLISH", "weather", "rain"])).strip() == b":1", what="a subscriber")
    terminal.shows(r'3\) "rain"')
    keep("messages", terminal.screen(), server.port)
    terminal.keys("x")
    terminal.line("unsubscribe")
    terminal.shows(r"(?s)unsubscribe.*127\.0\.0\.1:\d+>\Z|unsubscribe")
    terminal.line("ping")
    terminal.shows(r"^PONG$")
    terminal.line("psubscribe *")
    terminal.shows(r"(?s)psubscribe.*Reading messages")
    terminal.keys("C-c")
    terminal.line("dbsize")
    terminal.shows(r"> dbsize\n\(integer\)")
    terminal.close()


def resizing(server, home):
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(r"127")
    terminal.type("set a-key-of-some-length a-value-of-some-length")
    terminal.resize(50, 15)
    terminal.type("!")
    terminal.keys("Enter")
    terminal.shows(r"^OK$")
    terminal.resize(120, 30)
    terminal.line("get a-key-of-some-length")
    terminal.shows(r'^"a-value-of-some-length!"$')
    terminal.close()


def losing_the_server(home):
    server = start_server()
    terminal = Terminal("-p", str(server.port), home=home)
    terminal.shows(r"127")
    terminal.line("set key value")
    terminal.shows(r"^OK$")
    server.stop()
    terminal.line("get key")
    terminal.shows(r"Could not connect to Redis at 127\.0\.0\.1:\d+: Connection refused\nnot connected>")
    again = start_server(server.port)
    terminal.line("ping")
    terminal.shows(r"> ping\nPONG\n127")
    terminal.close()
    again.stop()


def paging(server, home):
    server.ask(encode(["RPUSH", "long", *[f"line {number}" for number in range(100)]]))
    terminal = Terminal("-p", str(server.port), home=home, env=["PAGER=head -n 3"])
    terminal.shows(r"127")
    terminal.line(":set pager")
    terminal.line("lrange long 0 -1")
    terminal.shows(r'  1\) "line 0"\n  2\) "line 1"\n  3\) "line 2"\n127')
    terminal.line("get missing")
    terminal.shows(r"\(nil\)")
    terminal.line("lrange long 0 3")
    terminal.line(":page")
    terminal.shows(r'(?s):page\n1\) "line 0"\n2\) "line 1"\n3\) "line 2"\n127')
    # What has no end does not wait for one.
    terminal.line("subscribe endless")
    terminal.shows(r'2\) "endless"')
    terminal.close()


def live(server, home):
    server.ask(encode(["CONFIG", "SET", "slowlog-log-slower-than", "0"]))
    terminal = Terminal("-p", str(server.port), "--live", "-i", "0.3", home=home)
    terminal.shows(r"commands .*/s")
    server.ask(b"".join(encode(["SET", f"key:{number}", "x" * 100]) for number in range(20000)), 20000)
    terminal.shows(r"(?s)command .*calls/s.*set ")
    screen = terminal.shows(r"slow commands")
    keep("live", screen, server.port)
    assert all(len(line) <= 80 for line in screen.split("\n")), screen
    terminal.resize(60, 20)
    terminal.shows(r"commands .*/s")
    wait_until(lambda: all(len(line) <= 60 for line in terminal.screen().split("\n")), what="a screen of 60 columns")
    terminal.keys("q")
    terminal.shows("left the client")
    terminal.close()


def close_what_is_open():
    for socket_name in OPEN:
        subprocess.run(["tmux", "-L", socket_name, "kill-server"], capture_output=True)
    OPEN.clear()


def in_document(text):
    """The document with the screens that were just taken."""
    def screen(found):
        return f"<!-- screen: {found[1]} -->\n```text\n{SCREENS[found[1]]}\n```"

    return re.sub(r"<!-- screen: (\w+) -->\n```text\n(?:.*?\n)??```", screen, text, flags=re.S)


def main():
    with tempfile.TemporaryDirectory() as home:
        server = start_server()
        try:
            for test in (completion_and_hints, history, several_lines, interrupting, subscribing, resizing, paging, live):
                test(server, home)
                print(f"tests/cli/terminal.py: {test.__name__}: ok")
        finally:
            close_what_is_open()
            server.stop()
        try:
            losing_the_server(home)
            print("tests/cli/terminal.py: losing_the_server: ok")
        finally:
            close_what_is_open()
    if "--write" in sys.argv:
        DOCUMENT.write_text(in_document(DOCUMENT.read_text()))


if __name__ == "__main__":
    main()
