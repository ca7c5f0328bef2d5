"""Real clients over TLS: redis-py, redis-cli, redis-benchmark, and our own."""

import os
import shutil
import socket
import subprocess
import sys

import pytest
import redis
import redis.asyncio
from redis.backoff import NoBackoff
from redis.retry import Retry

from conftest import free_port, tool


def openssl(*arguments, cwd):
    subprocess.run(["openssl", *arguments], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and what it vouches for; a stranger."""
    if not shutil.which("openssl"):
        print("SKIPPED: no openssl here to make certificates", file=sys.__stderr__)
        pytest.skip("no openssl here to make certificates")
    folder = tmp_path_factory.mktemp("tls")

    def authority(name):
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.crt",
                "-days", "2", "-subj", f"/CN={name}", cwd=folder)

    def issue(name, by, kind):
        openssl("req", *kind, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}", cwd=folder)
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{by}.crt", "-CAkey", f"{by}.key", "-CAcreateserial",
                "-days", "2", "-extfile", "names", "-out", f"{name}.crt", cwd=folder)

    authority("ca")
    authority("other-ca")
    issue("server", "ca", ["-newkey", "rsa:2048"])
    issue("client", "ca", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
    issue("stranger", "other-ca", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"])
    # The server's key under a password.
    openssl("pkcs8", "-topk8", "-in", "server.key", "-passout", "pass:secret", "-out", "server-locked.key", cwd=folder)
    return folder


@pytest.fixture
def tls_server(start_server, certificates):
    def start(auth_clients, *arguments):
        server = start_server("--tls-cert-file", str(certificates / "server.crt"),
                              "--tls-key-file", str(certificates / "server-locked.key"), "--tls-key-file-pass", "secret",
                              "--tls-ca-cert-file", str(certificates / "ca.crt"), "--tls-auth-clients", auth_clients,
                              *arguments)
        # Somebody else may take the port between finding and using it: then another one.
        plain = redis.Redis(port=server.port)
        for _ in range(5):
            server.tls_port = free_port()
            try:
                plain.config_set("tls-port", server.tls_port)
                return server
            except redis.ResponseError as error:
                refusal = error
        raise refusal

    return start


def options(server, certificates, who=None, **more):
    more = {"host": "localhost", "port": server.tls_port, "ssl": True, "ssl_ca_certs": str(certificates / "ca.crt"),
            "socket_timeout": 20, **more}
    if who:
        more |= {"ssl_certfile": str(certificates / f"{who}.crt"), "ssl_keyfile": str(certificates / f"{who}.key")}
    return more


def test_redis_py(tls_server, certificates, protocol):
    server = tls_server("yes")
    client = redis.Redis(**options(server, certificates, "client", protocol=protocol))
    assert client.set("k", "v") and client.get("k") == b"v"
    with client.pipeline(transaction=False) as pipe:
        for number in range(5000):
            pipe.set(f"k{number}", "x" * (number % 500))
        assert all(pipe.execute())
    value = os.urandom(8 * 1024 * 1024)
    client.set("big", value)
    assert client.get("big") == value
    assert client.info("tls")["tls_server_cert_expires_in_seconds"] > 86_400
    messages = client.pubsub()
    messages.subscribe("channel")
    assert messages.get_message(timeout=10)["type"] == "subscribe"
    client.publish("channel", "message")
    assert messages.get_message(timeout=10)["data"] == b"message"
    # Who is not let in is not let in the next time either.
    once = {"protocol": protocol, "retry": Retry(NoBackoff(), 0)}
    for who in [None, "stranger"]:
        with pytest.raises(redis.ConnectionError):
            redis.Redis(**options(server, certificates, who, **once)).ping()
    mistaken = options(server, certificates, "client", ssl_ca_certs=str(certificates / "other-ca.crt"), **once)
    with pytest.raises(redis.ConnectionError):
        redis.Redis(**mistaken).ping()
    # Requests that are not encrypted get no answer there.
    with socket.create_connection(("127.0.0.1", server.tls_port), timeout=20) as plain:
        plain.sendall(b"PING\r\n")
        assert b"PONG" not in plain.recv(100)


def test_optional_certificates(tls_server, certificates):
    server = tls_server("optional")
    assert redis.Redis(**options(server, certificates)).ping()
    assert redis.Redis(**options(server, certificates, "client")).ping()
    with pytest.raises(redis.ConnectionError):
        redis.Redis(**options(server, certificates, "stranger", retry=Retry(NoBackoff(), 0))).ping()


def test_redis_py_async(tls_server, certificates):
    import asyncio

    server = tls_server("yes")

    async def work():
        client = redis.asyncio.Redis(**options(server, certificates, "client"))
        await asyncio.gather(*[client.set(f"k{number}", number) for number in range(80)])
        values = await asyncio.gather(*[client.get(f"k{number}") for number in range(80)])
        await client.aclose()
        return values

    assert asyncio.run(work()) == [str(number).encode() for number in range(80)]


@pytest.mark.parametrize("own", [False, True], ids=["redis-cli", "spinel-cli"])
def test_command_line(tls_server, certificates, own, tmp_path):
    server = tls_server("yes")
    program = [os.environ["SPINEL_BIN"], "cli"] if own else [tool("redis-cli")]
    program += ["-h", "localhost", "-p", str(server.tls_port), "--tls", "--cacert", str(certificates / "ca.crt"),
                "--cert", str(certificates / "client.crt"), "--key", str(certificates / "client.key")]
    run = lambda *words, **more: subprocess.run([*program, *words], capture_output=True, text=True, timeout=60, **more).stdout
    assert run("SET", "k", "v") == "OK\n"
    assert run("GET", "k") == "v\n"
    assert "errors: 0, replies: 1000" in run("--pipe", input="SET k v\r\n" * 1000)


def test_redis_benchmark(tls_server, certificates):
    server = tls_server("no")
    done = subprocess.run([tool("redis-benchmark"), "-p", str(server.tls_port), "--tls", "--cacert",
                           str(certificates / "ca.crt"), "-t", "set,get", "-n", "20000", "-P", "16", "-c", "20", "--csv"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.count("\n") == 3, done.stdout + done.stderr
    assert redis.Redis(port=server.port).exists("key:__rand_int__")
