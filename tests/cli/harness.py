"""Servers to talk to, and programs run in a pipe or on a terminal of their own."""

import os
import pathlib
import random
import pty
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
REAL_CLI = ROOT / ".peers/redis-7.0/redis-cli"
REAL_SERVER = ROOT / ".peers/redis-8.2/redis-server"
SPINEL = os.environ["SPINEL_BIN"]


def wait_until(condition, seconds=15, what="the condition"):
    """Polls; a test never just sleeps."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {seconds} seconds")
        time.sleep(0.01)


def free_port():
    """Below those that the kernel hands out to connections by itself: hardly ever is it taken a moment later."""
    while True:
        port = random.randrange(10_000, 22_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


class Server:
    """A server on a free port, in a folder of its own."""

    def __init__(self, program, *options):
        self.folder = tempfile.mkdtemp(prefix="cli-")
        self.socket = os.path.join(self.folder, "s")
        for _ in range(5):
            self.port = free_port()
            with open(os.path.join(self.folder, "log"), "wb") as log:
                self.process = subprocess.Popen(
                    [str(program), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "",
                     "--unixsocket", self.socket, "--enable-debug-command", "yes", *options],
                    cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_until(lambda: self.answers() or self.process.poll() is not None, 30, "the server's first answer")
            if self.process.poll() is None:
                return
        raise AssertionError(pathlib.Path(self.folder, "log").read_text(errors="replace"))

    def answers(self):
        try:
            return self.ask(b"PING\r\n").startswith((b"+", b"-NOAUTH"))
        except OSError:
            return False

    def ask(self, request, replies=1):
        """Sends bytes and returns what comes, until so many lines have come."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(self.socket)
            connection.sendall(request)
            answer = b""
            while answer.count(b"\n") < replies:
                more = connection.recv(1 << 16)
                if not more:
                    break
                answer += more
            return answer

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def encode(words):
    """A request as clients send it."""
    parts = [word.encode() if isinstance(word, str) else word for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


class Done:
    """What a program has said, and how it ended; the status is None if it had to be stopped."""

    def __init__(self, status, output, errors):
        self.status, self.output, self.errors = status, output, errors


def run_piped(command, text, env, patience):
    """`patience`: how long a program may go on that is not expected to end by itself."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    try:
        output, errors = process.communicate(text, timeout=patience)
        return Done(process.returncode, output, errors)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        return Done(None, output, errors)


def run_on_terminal(command, env, patience):
    """The program has the terminal for input and output; nothing is typed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, env)
    output = b""
    deadline = time.monotonic() + patience
    status = None
    while time.monotonic() < deadline:
        readable, _, _ = select.select([terminal], [], [], 0.05)
        if not readable:
            continue
        try:
            piece = os.read(terminal, 1 << 16)
        except OSError:
            piece = b""
        if not piece:
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            break
        output += piece
    else:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(terminal)
    return Done(status, output, b"")
