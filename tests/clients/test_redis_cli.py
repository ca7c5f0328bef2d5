"""Debian's redis-cli 7.0, unmodified."""

import json
import subprocess

import pytest

from conftest import tool


@pytest.fixture
def cli(server):
    program = tool("redis-cli")

    def run(*arguments, text=None, status=0):
        done = subprocess.run([program, "-h", "127.0.0.1", "-p", str(server.port), *arguments], input=text,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done
        return done.stdout

    run("FLUSHALL")
    return run


def test_single_commands(cli):
    assert cli("SET", "k", "v") == "OK\n"
    assert cli("GET", "k") == "v\n"
    assert cli("--no-raw", "GET", "k") == '"v"\n'
    assert cli("--no-raw", "GET", "missing") == "(nil)\n"
    assert cli("--no-raw", "INCR", "n") == "(integer) 1\n"
    assert cli("--raw", "MGET", "k", "n") == "v\n1\n"
    assert cli("--csv", "MGET", "k", "n", "missing") == '"v","1",NULL\n'
    assert cli("-n", "3", "DBSIZE") == "0\n"
    assert "ERR unknown command" in cli("NOSUCH")
    assert cli("-e", "NOSUCH", status=1) == ""


def test_protocol_3_and_json(cli):
    cli("SET", "k", "v")
    # `--json` switches to RESP3 by itself; in 7.0 it gives maps as objects.
    assert json.loads(cli("--json", "CONFIG", "GET", "maxclients")) == {"maxclients": "10000"}
    assert cli("-3", "--no-raw", "GET", "missing") == "(nil)\n"
    assert '"server"' in cli("-3", "--no-raw", "HELLO", "3")


def test_standard_input(cli):
    """What a person types, from a pipe: the prompt's own features need no terminal."""
    typed = "set 'a key' \"tab\\there\"\nget 'a key'\nselect 4\nset b 2\ndbsize\n3 incr counter\n"
    lines = cli("--no-raw", text=typed).splitlines()
    assert lines == ["OK", '"tab\\there"', "OK", "OK", "(integer) 1", "(integer) 1", "(integer) 2", "(integer) 3"]


def test_last_argument_from_standard_input(cli):
    assert cli("-x", "SET", "k", text="from a pipe") == "OK\n"
    assert cli("GET", "k") == "from a pipe\n"
    assert cli("-X", "tag", "SET", "tag", "v", text="name") == "OK\n"
    assert cli("GET", "name") == "v\n"


def test_repeat(cli):
    assert cli("-r", "5", "INCR", "n") == "1\n2\n3\n4\n5\n"
    assert cli("-r", "2", "-i", "0.01", "INCR", "n") == "6\n7\n"


def test_mass_insertion(cli):
    commands = "".join(f"*3\r\n$3\r\nSET\r\n${len(f'k{n}')}\r\nk{n}\r\n$1\r\nv\r\n" for n in range(5000))
    assert "errors: 0, replies: 5000" in cli("--pipe", text=commands)
    assert cli("DBSIZE") == "5000\n"


def test_scanning_modes(cli):
    cli(*["MSET", *(word for n in range(1200) for word in (f"user:{n}", "x" * (n % 50)))])
    assert len(set(cli("--scan").split())) == 1200
    assert len(set(cli("--scan", "--pattern", "user:1?").split())) == 10
    biggest = cli("--bigkeys")
    assert "Sampled 1200 keys" in biggest and "1200 strings" in biggest
    assert "Sampled 1200 keys" in cli("--memkeys")


def test_unix_socket_and_url(cli, server):
    program = tool("redis-cli")
    for where in (["-s", server.socket_path], ["-u", f"redis://127.0.0.1:{server.port}/2"]):
        done = subprocess.run([program, *where, "PING"], capture_output=True, text=True, timeout=60)
        assert done.stdout == "PONG\n", done


def test_password(start_server):
    server = start_server("--requirepass", "secret")
    program = tool("redis-cli")

    def run(*words):
        done = subprocess.run([program, "-p", str(server.port), *words], capture_output=True, text=True, timeout=60)
        return done.stdout

    assert "NOAUTH" in run("GET", "k")
    assert run("-a", "secret", "--no-auth-warning", "PING") == "PONG\n"
    assert run("--user", "default", "--pass", "secret", "--no-auth-warning", "PING") == "PONG\n"


def test_help_and_hints_come_from_the_server(cli):
    """`COMMAND DOCS` feeds the prompt's help; `CLIENT`'s own help has the usual shape."""
    assert cli("CLIENT", "HELP").startswith("CLIENT <subcommand>")
    assert "GET" in cli("COMMAND", "DOCS", "GET").upper()
    assert "redis_version" in cli("INFO")
