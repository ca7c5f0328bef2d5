#!/usr/bin/env bash
# Real clients against Spinel: redis-py, redis-cli, redis-benchmark, a web application, and task queues (Celery, RQ). Installs what it needs
# under target/.
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

SPINEL_BIN=$(realpath "$server") exec "$venv/bin/python" -m pytest -q -p no:cacheprovider "$@" "$root/tests/clients"
