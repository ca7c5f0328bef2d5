#!/usr/bin/env bash
# The test suites of other projects, unmodified, against Spinel. Each is fetched from its registry in a pinned version and kept under target/.
#
#   SPINEL_BIN=target/fast/spinel tests/suites/run.sh [redis-py] [redis-rs]
#
# SPINEL_BIN may be a real server (.peers/redis-8.2/redis-server): that is how the lists of what fails without Spinel's doing are made.
# SUITES_ARGUMENTS goes to each runner: see redis-py/run.py and redis-rs/run.py.
# Exits 0 and says so where a suite cannot be had.
set -u
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1

server=${SPINEL_BIN:-}
if [ -z "$server" ]; then
    # The newest build: whoever has just built a profile means that one.
    server=$(ls -t "${CARGO_TARGET_DIR:-target}"/{release,fast,debug}/spinel 2>/dev/null | head -n 1)
fi
[ -n "$server" ] || { echo "SKIPPED tests/suites: no spinel is built" >&2; exit 0; }
[ -x "$server" ] || { echo "tests/suites: $server is no program" >&2; exit 2; }
SPINEL_BIN=$(realpath "$server")
export SPINEL_BIN

status=0
[ $# -gt 0 ] || set -- redis-py redis-rs
for suite; do
    # shellcheck disable=SC2086
    "tests/suites/$suite/run.sh" ${SUITES_ARGUMENTS:-} || status=1
done
exit $status
