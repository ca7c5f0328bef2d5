"""Starting the server under test, finding Debian's tools, waiting for conditions."""

import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile

import pytest
import redis

from workers import Workers, wait_until

sys.dont_write_bytecode = True
ROOT = pathlib.Path(__file__).resolve().parents[2]


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
    """A server process on a free port, with a unix socket, in a directory of its own."""

    def __init__(self, *arguments):
        self.directory = tempfile.mkdtemp(prefix="clients-")
        self.socket_path = os.path.join(self.directory, "s")
        self.log_path = os.path.join(self.directory, "log")
        # Somebody else may take the port between finding and using it: then another one.
        for _ in range(5):
            self.port = free_port()
            with open(self.log_path, "wb") as log:
                self.process = subprocess.Popen(
                    [os.environ["SPINEL_BIN"], "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory,
                     "--save", "", "--unixsocket", self.socket_path, "--unixsocketperm", "700", *arguments],
                    cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            wait_until(lambda: self.answers() or self.process.poll() is not None, 30, "the server's first answer")
            if self.process.poll() is None:
                return
        raise AssertionError(self.log())

    def answers(self):
        try:
            # Over its own socket, which nobody else can have; it comes after the port.
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(5)
                connection.connect(self.socket_path)
                connection.sendall(b"PING\r\n")
                # -LOADING is not yet an answer, -NOAUTH is one.
                return connection.recv(64).startswith((b"+", b"-NOAUTH"))
        except OSError:
            return False

    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def server():
    server = Server("--io-threads", "2")
    yield server
    alive = server.process.poll() is None
    log = server.log()
    server.stop()
    assert alive, f"the server has ended:\n{log}"


@pytest.fixture
def start_server():
    """For tests that need a server of their own, with other options."""
    servers = []

    def start(*arguments):
        servers.append(Server(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def queue_server(start_server):
    """A server of its own for a task queue: what is left of killed workers is nobody else's business."""
    return start_server("--io-threads", "2")


@pytest.fixture
def start_workers(queue_server, tmp_path):
    groups = []

    def start(*words, **environment):
        environment = {**os.environ, "REDIS_PORT": str(queue_server.port), "PYTHONDONTWRITEBYTECODE": "1", **environment}
        groups.append(Workers(words, environment, tmp_path))
        return groups[-1]

    yield start
    for group in groups:
        group.kill()


@pytest.fixture(params=[2, 3], ids=["resp2", "resp3"])
def protocol(request):
    return request.param


@pytest.fixture
def make_client(server, protocol):
    """Clients of redis-py on an empty server, closed after the test."""
    clients = []

    def make(**options):
        options = {"host": "127.0.0.1", "port": server.port, "protocol": protocol, "socket_timeout": 20, **options}
        clients.append(redis.Redis(**options))
        return clients[-1]

    make().flushall()
    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client):
    return make_client()


@pytest.fixture
def text_client(make_client):
    return make_client(decode_responses=True)


def tool(name):
    """Debian's program of this name."""
    found = ROOT / ".peers/redis-7.0" / name
    path = str(found) if found.exists() else shutil.which(name)
    if not path:
        print(f"SKIPPED: no {name} here (run tools/peers.sh)", file=sys.__stderr__)
        pytest.skip(f"no {name} here (run tools/peers.sh)")
    return path
