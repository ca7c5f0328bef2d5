#!/usr/bin/env bash
# Fetches redis-py's source package and what its tests need, and hands over to run.py.
set -u
cd "$(dirname "$0")/../../.."
here=tests/suites/redis-py
work=$PWD/target/suites/redis-py

skip() {
    echo "SKIPPED tests/suites/redis-py: $1" >&2
    exit 0
}

if ! cat $here/requirements.txt $here/source.txt | cmp -s - "$work/installed"; then
    rm -rf "$work"
    mkdir -p "$work"
    python3 -m venv "$work/venv" >/dev/null 2>&1 || skip "python3 cannot make a virtual environment (Debian: python3-venv)"
    pip=("$work/venv/bin/python" -m pip --quiet --disable-pip-version-check)
    "${pip[@]}" install -r $here/requirements.txt || skip "pip cannot install $here/requirements.txt"
    "${pip[@]}" download --no-deps --no-binary=:all: --require-hashes -d "$work" -r $here/source.txt || skip "pip cannot fetch $here/source.txt"
    mkdir "$work/source"
    tar -xzf "$work"/redis-*.tar.gz -C "$work/source" --strip-components=1 || exit 1
    # The wheel that redis-entraid has brought would be another redis-py than the one whose tests these are.
    "${pip[@]}" uninstall --yes redis || exit 1
    cat $here/requirements.txt $here/source.txt >"$work/installed"
fi
exec "$work/venv/bin/python" $here/run.py "$@"
