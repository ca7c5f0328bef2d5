"""Modes whose results can be checked by themselves: --rdb against the file the server writes, --keystats against redis-cli's figures,
--pipe against what arrives, TLS with certificates of our own (needs openssl and a server with TLS).
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from harness import REAL_CLI, REAL_SERVER, ROOT, SPINEL, Server, encode, free_port, wait_until

TLS_SERVER = ROOT / ".peers/redis-7.0/redis-server"


def run(*words, program=(SPINEL, "cli"), text=None, status=0):
    done = subprocess.run([*map(str, program), *map(str, words)], input=text, capture_output=True, timeout=120)
    assert done.returncode == status, done
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def fill(server):
    commands = [["FLUSHALL"]]
    for number in range(3000):
        commands.append(["SET", f"text:{number}", "x" * (number % 700)])
        commands.append(["RPUSH", f"list:{number % 100}", f"element {number}"])
        commands.append(["HSET", f"hash:{number % 37}", f"field {number}", str(number)])
        commands.append(["ZADD", f"zset:{number % 11}", str(number), f"member {number}"])
        commands.append(["SADD", f"set:{number % 300}", str(number)])
        commands.append(["XADD", f"stream:{number % 5}", f"{number + 1}-1", "name", "value"])
    # A stream id takes two lines, everything else one.
    server.ask(b"".join(map(encode, commands)), len(commands) + 3000)


def snapshots_are_the_servers_own(folder):
    server = Server(REAL_SERVER, "--repl-diskless-sync", "no")
    try:
        fill(server)
        wanted = pathlib.Path(folder, "fetched.rdb")
        wanted.write_bytes(b"the last backup")
        _, told = run("-p", server.port, "--rdb", wanted)
        saved = pathlib.Path(server.folder, "dump.rdb").read_bytes()
        assert wanted.read_bytes() == saved, "the file that was fetched is not the one that was saved"
        assert "Transfer finished with success." in told, told
        output = subprocess.run([SPINEL, "cli", "-p", str(server.port), "--rdb", "-"], capture_output=True, timeout=120).stdout
        assert output == pathlib.Path(server.folder, "dump.rdb").read_bytes()
        # A server that refuses leaves the last backup alone, and nothing beside it.
        server.ask(encode(["CONFIG", "SET", "requirepass", "secret"]))
        run("-p", server.port, "--rdb", wanted, status=1)
        assert wanted.read_bytes() == saved
        assert [path.name for path in pathlib.Path(folder).glob("fetched*")] == ["fetched.rdb"]
    finally:
        server.stop()


def figures_are_those_of_redis_cli():
    """--keystats knows what --bigkeys and --memkeys of redis-cli know."""
    for program in (REAL_SERVER, SPINEL):
        server = Server(program)
        try:
            fill(server)
            sizes, _ = run("-p", server.port, "--bigkeys", program=[REAL_CLI])
            memory, _ = run("-p", server.port, "--memkeys", program=[REAL_CLI])
            ours, _ = run("-p", server.port, "--keystats", "--top", "1000000")
            table = {row.split()[0]: row for row in ours.split("Avg ln/card")[1].split("\n")[2:] if row.strip()}
            for keys, kind, total, unit in re.findall(r"^(\d+) (\S+)s with (\d+) (\S+) ", sizes, re.M):
                if keys == "0":
                    continue
                row = table[kind].split()
                assert row[1] == keys, (keys, table[kind])
                if unit != "bytes":
                    assert f" {total} {unit} " in table[kind], (total, table[kind])
            for kind, key, size in re.findall(r"^Biggest +(\S+) found '\"(.*)\"' has (\d+) bytes$", memory, re.M):
                found = re.search(rf"^{kind} +(\S+) is (\S+)$", ours, re.M)
                assert found[1] == key and found[2] == human(int(size)), (kind, key, size, found[0])
            sampled = re.search(r"Sampled (\d+) keys", sizes)[1]
            assert f"Keys sampled: {sampled}\n" in ours
            listed = re.findall(r"^ *\d+ +\S+ \S+ +\"(\S+)\"$", ours, re.M)
            assert len(listed) == int(sampled), (len(listed), sampled)
        finally:
            server.stop()


def human(size):
    value, unit = size, "B"
    for unit in "BKMG":
        if value < 1024:
            break
        value /= 1024
    return f"{value:.0f}B" if unit == "B" else f"{value:.2f}{unit}"


def mass_insertion():
    server = Server(SPINEL)
    try:
        count = 200_000
        text = b"".join(encode(["SET", f"key:{number}", "value"]) for number in range(count))
        output, _ = run("-p", server.port, "--pipe", text=text)
        assert f"errors: 0, replies: {count}\n" in output, output
        assert server.ask(encode(["DBSIZE"])).strip() == b":%d" % count
    finally:
        server.stop()


def tls(folder):
    if not shutil.which("openssl") or not TLS_SERVER.exists():
        print("SKIPPED tests/cli/transfers.py: tls: there is no openssl, or no server with TLS", file=sys.stderr)
        return

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=tests")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "our.key", "-out", "our.csr", "-subj", "/CN=localhost")
    pathlib.Path(folder, "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    openssl("x509", "-req", "-in", "our.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out", "our.crt", "-days", "2",
            "-extfile", "names")
    file = lambda name: str(pathlib.Path(folder, name))
    port = free_port()
    server = Server(TLS_SERVER, "--tls-port", str(port), "--tls-cert-file", file("our.crt"), "--tls-key-file", file("our.key"),
                    "--tls-ca-cert-file", file("ca.crt"))
    try:
        wait_until(lambda: server.answers(), what="the server")
        ours = ["-p", port, "--tls", "--cert", file("our.crt"), "--key", file("our.key")]
        assert run(*ours, "--cacert", file("ca.crt"), "SET", "a", "b")[0] == "OK\n"
        assert run(*ours, "--insecure", "GET", "a")[0] == "b\n"
        assert run("-u", f"rediss://localhost:{port}", "--cacert", file("ca.crt"), *ours[3:], "GET", "a")[0] == "b\n"
        assert run(*ours, "--insecure", "--tls-ciphersuites", "TLS_AES_128_GCM_SHA256", "GET", "a")[0] == "b\n"
        assert "UnknownIssuer" in run(*ours, "PING", status=1)[1], "a stranger is not to be believed"
        assert "certificate" in run(*ours, "--cacert", file("ca.crt"), "--sni", "elsewhere", "PING", status=1)[1]
        assert run("-p", port, "--tls", "--cacert", file("ca.crt"), "PING", status=1)[0] == "", "the server wants to know who we are"
        assert "no known cipher" in run(*ours, "--insecure", "--tls-ciphers", "NONSENSE", "PING", status=1)[1]
        text = b"".join(encode(["SET", f"key:{number}", "x" * 1000]) for number in range(5000))
        assert "errors: 0, replies: 5000\n" in run(*ours, "--insecure", "--pipe", text=text)[0]
        keys = run(*ours, "--insecure", "--scan", "--count", "1000")[0].split()
        assert len(keys) == 5001
    finally:
        server.stop()


def main():
    with tempfile.TemporaryDirectory() as folder:
        for test in (lambda: snapshots_are_the_servers_own(folder), figures_are_those_of_redis_cli, mass_insertion, lambda: tls(folder)):
            test()
    print("tests/cli/transfers.py: snapshots, figures, mass insertion and TLS: ok")


if __name__ == "__main__":
    main()
