#!/usr/bin/env bash
# Real clients against Spinel: redis-py, redis-cli, redis-benchmark, ioredis, node-redis, web applications, task queues (Celery, RQ, BullMQ),
# Redlock, Socket.IO, rate limiters. Installs what it needs under target/.
#
#   SPINEL_BIN=target/fast/spinel tests/clients/run.sh [pytest arguments]
#
# SPINEL_BIN may be a real server too (.peers/redis-8.2/redis-server): that is how the tests themselves are tested.
# Exits 0 and says so when the packages cannot be had.
set -u
cd "$(dirname "$0")/../.."
root=$PWD
venv="$root/target/clients-venv"
wanted=tests/clients/requirements.txt

skip() {
    echo "SKIPPED tests/clients: $1" >&2
    exit 0
}

server=${SPINEL_BIN:-}
if [ -z "$server" ]; then
    # The newest build: whoever has just built a profile means that one.
    server=$(ls -t "${CARGO_TARGET_DIR:-target}"/{release,fast,debug}/spinel 2>/dev/null | head -n 1)
fi
[ -n "$server" ] || skip "no spinel is built"
[ -x "$server" ] || { echo "tests/clients: $server is no program" >&2; exit 2; }

if ! cmp -s "$wanted" "$venv/installed"; then
    rm -rf "$venv"
    mkdir -p "$root/target"
    python3 -m venv "$venv" >/dev/null 2>&1 || skip "python3 cannot make a virtual environment (Debian: python3-venv)"
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -r "$wanted" || skip "pip cannot install $wanted"
    cp "$wanted" "$venv/installed"
fi

# Node comes from PyPI too, in the version that requirements.txt says. Scripts of packages are not run: what they would build is optional.
modules="$root/target/clients-node"
if ! cat "$wanted" tests/clients/node/package-lock.json | cmp -s - "$modules/installed"; then
    rm -rf "$modules"
    mkdir -p "$modules"
    cp tests/clients/node/package.json tests/clients/node/package-lock.json "$modules"
    # Not `npm ci`, which fails where the registry lacks the builds of an optional package for other systems.
    if (cd "$modules" && PATH="$venv/bin:$PATH" npm install --ignore-scripts --no-audit --no-fund --loglevel error >npm.log 2>&1); then
        cat "$wanted" tests/clients/node/package-lock.json >"$modules/installed"
    else
        echo "SKIPPED tests/clients/test_node.py: npm cannot install tests/clients/node/package.json, see $modules/npm.log" >&2
    fi
fi

export SPINEL_NODE_MODULES="$modules/node_modules"
SPINEL_BIN=$(realpath "$server") exec "$venv/bin/python" -m pytest -q -p no:cacheprovider "$@" "$root/tests/clients"
