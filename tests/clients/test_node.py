"""Clients and applications of Node as they come (`node/*.cjs`): ioredis, node-redis, BullMQ, Redlock, Socket.IO's adapters, rate limiters."""

import os
import pathlib
import random
import shutil
import subprocess
import sys

import pytest
import redis

from workers import SEED, TASKS, work_through

HERE = pathlib.Path(__file__).parent / "node"
SECONDS = 180


@pytest.fixture(scope="session")
def node():
    """The program, from the virtual environment."""
    modules = os.environ.get("SPINEL_NODE_MODULES", "")
    program = shutil.which("node", path=os.path.dirname(sys.executable))
    if not program or not os.path.exists(os.path.join(modules, "..", "installed")):
        print("SKIPPED: Node's packages are not installed (see tests/clients/run.sh)", file=sys.__stderr__)
        pytest.skip("Node's packages are not installed")
    return program


@pytest.fixture
def run(node, server):
    """Runs a script to its end, on an empty server."""

    def run(script, *words, port=server.port, **environment):
        outcome = subprocess.run([node, HERE / script, *words], env=environ(port, **environment), stdin=subprocess.DEVNULL,
                                 capture_output=True, text=True, timeout=SECONDS)
        assert outcome.returncode == 0, outcome.stdout + outcome.stderr
        return outcome.stdout

    with redis.Redis(port=server.port) as client:
        client.flushall()
    return run


def environ(port, **more):
    return {**os.environ, "NODE_PATH": os.environ["SPINEL_NODE_MODULES"], "REDIS_PORT": str(port), **more}


def test_ioredis(run):
    run("ioredis.cjs")


def test_node_redis(run):
    run("node_redis.cjs")


def test_rate_limiters(run):
    run("limiters.cjs")


def test_socket_io(run):
    run("socketio.cjs")


def test_redlock(run, start_server):
    servers = [start_server() for _ in range(3)]
    run("redlock.cjs", REDIS_PORTS=",".join(str(server.port) for server in servers))
    assert [server.process.poll() is None for server in servers] == [True, True, False]


def test_bullmq_features(run):
    run("bullmq.cjs", "features")


def test_bullmq_with_killed_workers(node, run, queue_server, start_workers):
    print(f"seed {SEED} (run again with SPINEL_SEED={SEED})")
    run("bullmq.cjs", "produce", str(TASKS), port=queue_server.port)
    workers = start_workers(node, HERE / "bullmq.cjs", "work", NODE_PATH=os.environ["SPINEL_NODE_MODULES"])
    with redis.Redis(port=queue_server.port, decode_responses=True) as records:
        work_through(workers, records, random.Random(SEED))
    run("bullmq.cjs", "finished", str(TASKS), port=queue_server.port)
