"""One part of redis-py's tests, inside a network namespace: brings the loopback up, starts the server, runs every n-th test."""

import argparse
import fcntl
import json
import os
import pathlib
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
WORK = HERE.parents[2] / "target/suites/redis-py"
SOURCE = WORK / "source"
PORT, TLS_PORT = 6379, 6666

# What Spinel is not asked for here, and what no server is: by directory, file or marker.
NOT_SPINEL = {
    # Cluster, sentinel, modules, vector sets.
    "files": ["test_cluster.py", "test_cluster_transaction.py", "test_sentinel.py", "test_bloom.py", "test_json.py", "test_search.py",
              "test_timeseries.py", "test_vsets.py"],
    "markers": ["onlycluster", "redismod", "cp_integration", "multidb_integration"],
    # The client alone, with its connections mocked, or a paid service with a fault injector.
    "directories": ["maint_notifications", "test_multidb", "test_observability", "test_scenario"],
}


def loopback_up():
    """`ip link set lo up`, without needing that program. Numbers from netdevice(7)."""
    SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        name, flags, rest = struct.unpack("16sH22s", fcntl.ioctl(some, SIOCGIFFLAGS, struct.pack("16sH22s", b"lo", 0, b"")))
        fcntl.ioctl(some, SIOCSIFFLAGS, struct.pack("16sH22s", name, flags | IFF_UP, rest))


def make_certificates(directory):
    """What redis-py's tests look for beside their sources: an authority, a server, a client, and a client named like a user."""
    import datetime
    import ipaddress
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    now = datetime.datetime.now(datetime.timezone.utc)

    def issue(stem, name, issuer=None):
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer[0] if issuer else subject).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
                   .not_valid_after(now + datetime.timedelta(days=30))
                   .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
                   .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False))
        signer = issuer[1] if issuer else key
        builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        if issuer:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        else:
            usage = dict.fromkeys(["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
                                   "encipher_only", "decipher_only"], False)
            builder = builder.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        (directory / f"{stem}.crt").write_bytes(builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        (directory / f"{stem}.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return subject, key

    directory.mkdir(parents=True)
    authority = issue("ca", "authority of the tests")
    for stem, name in (("redis", "localhost"), ("client", "client"), ("test_user", "test_user")):
        issue(stem, name, authority)


def certificates(part):
    """Made by whichever part comes first."""
    wanted = SOURCE / "dockers/standalone/tls"
    if not wanted.exists():
        made = WORK / f"certificates-{part}"
        shutil.rmtree(made, ignore_errors=True)
        make_certificates(made)
        wanted.parent.mkdir(parents=True, exist_ok=True)
        try:
            made.rename(wanted)
        except OSError:
            shutil.rmtree(made)
    return wanted


def answers(port):
    try:
        socket.create_connection(("localhost", port), 5).close()
        return True
    except OSError:
        return False


class Server:
    def __init__(self, certificates):
        self.directory = tempfile.mkdtemp(prefix="suites-")
        self.log_path = os.path.join(self.directory, "log")
        tls = ["--tls-port", str(TLS_PORT), "--tls-cert-file", str(certificates / "redis.crt"), "--tls-key-file", str(certificates / "redis.key"),
               "--tls-ca-cert-file", str(certificates / "ca.crt"), "--tls-auth-clients", "no"]
        # Redis built without TLS does not start with these options.
        for options in (tls, []):
            with open(self.log_path, "ab") as log:
                self.process = subprocess.Popen(
                    [os.environ["SPINEL_BIN"], "--port", str(PORT), "--dir", self.directory, "--save", "", "--enable-debug-command", "yes", *options],
                    cwd=self.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            deadline = time.monotonic() + 30
            ports = [PORT, TLS_PORT] if options else [PORT]
            while not all(map(answers, ports)) and self.process.poll() is None:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.01)
            if self.process.poll() is None:
                self.has_tls = options is tls
                return
        raise AssertionError(self.log())

    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")[-4000:]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)


class Part:
    """A pytest plugin: which tests are this part's, and what came of them."""

    def __init__(self, part, parts, has_tls):
        self.part, self.parts, self.has_tls = part, parts, has_tls
        self.chosen = json.loads((WORK / "selection.json").read_text())
        self.known, self.need_tls = set(), 0
        self.mine, self.outcomes = [], {}

    def pytest_ignore_collect(self, collection_path):
        if collection_path.name in NOT_SPINEL["files"] or collection_path.name in NOT_SPINEL["directories"]:
            return True
        return None

    # After pytest's own -k.
    def pytest_collection_modifyitems(self, config, items):
        kept, dropped = [], []
        for item in items:
            # Lists name tests without their parameters, and with them where only one of several is meant.
            names = {item.nodeid, item.nodeid.partition("[")[0]}
            self.known |= names
            keep = not any(item.get_closest_marker(marker) for marker in NOT_SPINEL["markers"])
            if "only" in self.chosen:
                keep = keep and not names.isdisjoint(self.chosen["only"])
            else:
                keep = keep and names.isdisjoint(self.chosen["without"])
            if keep and not self.has_tls and needs_tls(item):
                keep, self.need_tls = False, self.need_tls + 1
            (kept if keep else dropped).append(item)
        items[:] = kept[self.part::self.parts]
        self.mine = [item.nodeid for item in items]

    def pytest_runtest_logreport(self, report):
        # Setting up, the call and tidying up report each. The worst counts, its first message.
        outcome = "failed" if report.failed else "skipped" if report.skipped else "passed"
        before, _ = self.outcomes.get(report.nodeid, ("passed", ""))
        if before == "passed" or (before, outcome) == ("skipped", "failed"):
            crash = getattr(report.longrepr, "reprcrash", None)
            message = crash.message if crash else str(report.longrepr or "")
            self.outcomes[report.nodeid] = (outcome, message.strip().partition("\n")[0][:200])


def needs_tls(item):
    return item.get_closest_marker("ssl") is not None or "SSL" in item.nodeid.partition("[")[0].rpartition("::")[0]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", type=int)
    parser.add_argument("--parts", type=int)
    parser.add_argument("--protocol")
    parser.add_argument("--legacy-responses")
    parser.add_argument("--expression")
    options = parser.parse_args()
    loopback_up()
    report = WORK / f"part-{options.part}.json"
    report.unlink(missing_ok=True)
    server = Server(certificates(options.part))
    part = Part(options.part, options.parts, server.has_tls)
    sys.path.insert(0, str(SOURCE))
    os.chdir(SOURCE)
    import pytest

    # The suite gives a test 30 seconds, which is not enough where several parts share two cores with a build.
    words = ["-q", "-p", "no:cacheprovider", "--capture=fd", "--tb=short", "-o", "timeout=120", "tests"]
    if options.protocol:
        words.append(f"--protocol={options.protocol}")
    if options.legacy_responses:
        words.append(f"--legacy-responses={options.legacy_responses}")
    if options.expression:
        words += ["-k", options.expression]
    try:
        code = pytest.main(words, plugins=[part])
        report.write_text(json.dumps({
            # 1: some have failed, 5: there were none.
            "whole": code in (0, 1, 5), "mine": part.mine, "outcomes": part.outcomes, "known": sorted(part.known), "need_tls": part.need_tls,
            "ended": server.process.poll() is not None, "log": server.log()}))
    finally:
        server.stop()


main()
