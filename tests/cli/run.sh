#!/usr/bin/env bash
# Spinel's command-line client beside the real redis-cli, and in a real terminal. Needs python3; the terminal's part needs tmux.
#
#   SPINEL_BIN=target/fast/spinel tests/cli/run.sh [words that an invocation must contain]
#
# Exits 0 and says so when there is nothing to compare with.
set -u
cd "$(dirname "$0")/../.."

skip() {
    echo "SKIPPED tests/cli: $1" >&2
    exit 0
}

binary=${SPINEL_BIN:-}
if [ -z "$binary" ]; then
    # The newest build: whoever has just built a profile means that one.
    binary=$(ls -t "${CARGO_TARGET_DIR:-target}"/{release,fast,debug}/spinel 2>/dev/null | head -n 1)
fi
[ -n "$binary" ] || skip "no spinel is built"
[ -x "$binary" ] || { echo "tests/cli: $binary is no program" >&2; exit 2; }
command -v python3 >/dev/null || skip "there is no python3"
SPINEL_BIN=$(realpath "$binary")
export SPINEL_BIN PYTHONDONTWRITEBYTECODE=1

status=0
if [ -x .peers/redis-7.0/redis-cli ] && [ -x .peers/redis-8.2/redis-server ]; then
    python3 tests/cli/side_by_side.py "$@" || status=1
    python3 tests/cli/transfers.py || status=1
else
    echo "SKIPPED tests/cli/side_by_side.py and transfers.py: no real redis-cli and redis-server here (run tools/peers.sh)" >&2
fi
if command -v tmux >/dev/null; then
    python3 tests/cli/terminal.py || status=1
else
    echo "SKIPPED tests/cli/terminal.py: there is no tmux (Debian: tmux)" >&2
fi
exit $status
