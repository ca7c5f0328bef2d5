"""The redis crate's own tests against the server that SPINEL_BIN names. Each test starts a server of its own, by the options that redis-server takes.

    run.py [--protocol RESP2|RESP3] [--server tcp|unix|tcp+tls]

Without --protocol: both.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lists import List

WORK = HERE.parents[2] / "target/suites/redis-rs"
SKIPPED_AT_MOST = 20
AGAIN_AT_MOST = 20
SECONDS = 120


def programs():
    """The built tests by name."""
    found = {}
    for line in (WORK / "build.json").read_text().splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message["target"]["kind"] == ["test"]:
            found[message["target"]["name"]] = message["executable"]
    return found


def parts(test):
    """`a::b::c` is meant by a list's line `a::b::c`, and by `a::b`."""
    words = test.split("::")
    return {"::".join(words[:count]) for count in range(1, len(words) + 1)}


class Suite:
    def __init__(self, options):
        self.environment = {**os.environ, "REDISRS_SERVER_BIN": os.environ["SPINEL_BIN"], "REDISRS_SERVER_TYPE": options.server}
        # They ask `redis-server -v` which version it is.
        path = WORK / "bin"
        path.mkdir(exist_ok=True)
        (path / "redis-server").unlink(missing_ok=True)
        (path / "redis-server").symlink_to(os.environ["SPINEL_BIN"])
        self.environment["PATH"] = f"{path}:{os.environ['PATH']}"
        self.programs = programs()
        self.tests = {name: self.names(program) for name, program in self.programs.items()}

    def names(self, program):
        listed = subprocess.run([program, "--list", "--format", "terse"], env=self.environment, capture_output=True, text=True, check=True)
        return [line.removesuffix(": test") for line in listed.stdout.splitlines() if line.endswith(": test")]

    def run(self, name, chosen, protocol):
        """Runs these tests of one program, one after the other, and returns what came of each."""
        log = WORK / f"{name}-{protocol}.log"
        skipped = [word for test in self.tests[name] if test not in chosen for word in ("--skip", test)]
        try:
            done = subprocess.run([self.programs[name], "--test-threads=1", "--exact", *skipped], env={**self.environment, "PROTOCOL": protocol},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=SECONDS)
            output = done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            output = (error.stdout or b"").decode(errors="replace")
        log.write_text(output)
        outcomes = dict(re.findall(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)", output, re.M))
        messages = dict(re.findall(r"^---- (\S+) stdout ----\n+(?:.*panicked at .*\n)?(.*)", output, re.M))
        # What is not heard of has taken the program with it, or hangs.
        return {test: (outcomes.get(test, "no end"), messages.get(test, "")) for test in chosen}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--protocol", choices=["RESP2", "RESP3"])
    parser.add_argument("--server", choices=["tcp", "unix", "tcp+tls"], default="tcp")
    options = parser.parse_args()
    skipped = List(HERE / "skipped.txt", SKIPPED_AT_MOST)
    baseline = List(HERE / "fails-with-redis-8.2.txt")
    listed = set(skipped.reasons) | set(baseline.reasons)

    begun = time.monotonic()
    suite = Suite(options)
    known = {part for name, tests in suite.tests.items() for test in tests for part in parts(f"{name}::{test}")}
    chosen = {name: [test for test in tests if not parts(f"{name}::{test}") & listed] for name, tests in suite.tests.items()}
    count, failures = collections.Counter(), {}
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        protocols = [options.protocol] if options.protocol else ["RESP2", "RESP3"]
        # The longest first.
        jobs = {pool.submit(suite.run, name, tests, protocol): (name, protocol)
                for name, tests in sorted(chosen.items(), key=lambda one: -len(one[1])) for protocol in protocols if tests}
        for job in concurrent.futures.as_completed(jobs):
            name, protocol = jobs[job]
            for test, (outcome, message) in job.result().items():
                count[outcome] += 1
                if outcome in ("FAILED", "no end"):
                    failures[name, test, protocol] = f"{outcome} {message}"
    if failures and len(failures) <= AGAIN_AT_MOST:
        # Some ask how long something took: a second try, with the machine to themselves.
        for name, test, protocol in sorted(failures):
            (outcome, message), = suite.run(name, [test], protocol).values()
            if outcome == "ok":
                print(f"passed on the second try: {name}::{test} ({protocol}) | {failures.pop((name, test, protocol))}")
                count["ok"] += 1
    for (name, test, protocol), message in sorted(failures.items()):
        print(f"FAILED {name}::{test} ({protocol}) | {message[:200]}")
    stale = [f"STALE {one.name}: there is no test {test}" for one in (skipped, baseline) for test in one.stale(known)]
    print("\n".join(stale), end="\n" if stale else "")
    print(f"redis-rs: {count['ok']} passed, {len(failures)} failed, {count['ignored']} ignored by the suite itself, "
          f"{len(skipped.reasons)} skipped here, {len(baseline.reasons)} that fail with Redis 8.2 too; "
          f"{time.monotonic() - begun:.0f} s; logs in {WORK}")
    return 1 if failures or stale or not count["ok"] else 0


sys.exit(main())
