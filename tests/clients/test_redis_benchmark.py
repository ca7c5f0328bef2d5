"""Debian's redis-benchmark 7.0, unmodified: no error, and every test reports a rate."""

import subprocess

import pytest
import redis

from conftest import tool

TESTS = "ping,set,get,incr,mset"


@pytest.mark.parametrize("options", [
    [],
    ["-P", "16"],
    ["--threads", "2"],
    ["-P", "16", "--threads", "2", "-r", "100000"],
    ["-k", "0", "-n", "2000"],
    ["-d", "10000"],
    ["-3"],
], ids=" ".join)
def test_no_error(server, options):
    words = [tool("redis-benchmark"), "-p", str(server.port), "-t", TESTS, "-n", "20000", "-c", "20", "-q", *options]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    output = done.stdout + done.stderr
    assert done.returncode == 0, output
    # It advises on kernel settings where connections are not kept; "Could not fetch server CONFIG" would be our fault.
    output = "\n".join(line for line in output.splitlines() if not line.startswith("WARNING: Keepalive disabled"))
    assert "rror" not in output and "WARNING" not in output, output
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
        assert f"{name}: " in output, output
    assert output.count("requests per second") >= 6, output


def test_its_counters_are_exact(server):
    with redis.Redis(port=server.port) as client:
        client.flushall()
        words = [tool("redis-benchmark"), "-p", str(server.port), *"-n 30000 -c 10 -P 8 -q INCR n".split()]
        subprocess.run(words, check=True, capture_output=True, timeout=120)
        # It sends whole pipelines, and may have one more under way on each connection when it has counted enough.
        assert 30_000 <= int(client.get("n")) <= 30_000 + 10 * 8
