#!/usr/bin/env bash
# Fetches the redis crate, lays its tests beside the manifest in this folder, builds them, and hands over to run.py.
set -u
cd "$(dirname "$0")/../../.."
here=tests/suites/redis-rs
work=$PWD/target/suites/redis-rs

skip() {
    echo "SKIPPED tests/suites/redis-rs: $1" >&2
    exit 0
}

command -v cargo >/dev/null || skip "there is no cargo"
command -v python3 >/dev/null || skip "there is no python3"
mkdir -p "$work/tests"
cp -r $here/Cargo.toml $here/Cargo.lock $here/test-macros "$work"
: >"$work/empty.rs"
# Cargo reads no manifest whose tests are not there, and where they lie only the manifest tells.
sed -n 's/^name = "\(test_.*\)"$/\1/p' $here/Cargo.toml | while read -r name; do
    [ -e "$work/tests/$name.rs" ] || : >"$work/tests/$name.rs"
done
manifest=(--manifest-path "$work/Cargo.toml")
cargo fetch --quiet --locked "${manifest[@]}" || skip "cargo cannot fetch what $here/Cargo.lock names"
source=$(cargo metadata --format-version 1 --locked --offline "${manifest[@]}" |
    python3 -c 'import json, os, sys
print(*(os.path.dirname(p["manifest_path"]) for p in json.load(sys.stdin)["packages"] if p["name"] == "redis"))')
rm -rf "$work/tests"
cp -r "$source/tests" "$work/tests" || exit 1
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}/suites-redis-rs
cargo test --quiet --no-run --offline --locked "${manifest[@]}" --message-format json 2>"$work/build.log" >"$work/build.json" ||
    { tail -n 40 "$work/build.log"; exit 1; }
exec python3 $here/run.py "$@"
