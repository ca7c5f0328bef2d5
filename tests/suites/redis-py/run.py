"""redis-py's own test suite against the server that SPINEL_BIN names.

The suite expects a server at localhost:6379 and, for TLS, at 6666. Both are given to it, in network namespaces: several parts of the suite run side by
side, each with a server of its own at these ports, and nothing that a test does can leave the machine. Most of a test's time is waiting.

    run.py [--parts N] [--protocol 2|3] [--legacy-responses true|false] [-k EXPRESSION]

Without --protocol and --legacy-responses it runs as a user gets redis-py: RESP3 on the wire, replies in the shapes of RESP2.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from lists import List

WORK = HERE.parents[2] / "target/suites/redis-py"
SKIPPED_AT_MOST = 20
# With more failures than this, a second try goes side by side as well.
ALONE_AT_MOST = 30


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", type=int, default=6, help="how many parts run at once")
    parser.add_argument("--protocol", choices=["2", "3"])
    parser.add_argument("--legacy-responses", choices=["true", "false"])
    parser.add_argument("-k", dest="expression", help="only tests whose names match, as pytest's -k")
    return parser.parse_args()


def namespace():
    """The words before a command that give it a network of its own, None where that is not allowed."""
    for words in (["unshare", "--net"], ["unshare", "--map-root-user", "--net"]):
        try:
            if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
                return words
        except FileNotFoundError:
            pass
    return None


def main():
    options = arguments()
    lists = {
        "skipped": List(HERE / "skipped.txt", SKIPPED_AT_MOST),
        "baseline": List(HERE / "fails-with-redis-8.2.txt"),
    }
    words = namespace()
    if words is None:
        print("SKIPPED tests/suites/redis-py: this machine lets nobody make a network namespace (unshare --net)", file=sys.stderr)
        return 0

    not_run = set(lists["skipped"].reasons) | set(lists["baseline"].reasons)
    begun = time.monotonic()
    run = Run(words, options, options.parts, {"without": sorted(not_run)})
    failures, again = run.named("failed"), {}
    if failures:
        # Some of the suite's tests ask how long something took. Those that fail get a second try, with the machine to themselves.
        again = failures
        second = Run(words, options, 1 if len(failures) <= ALONE_AT_MOST else options.parts, {"only": sorted(failures)})
        run.broken += second.broken
        failures = second.named("failed")

    for name, message in sorted(failures.items()):
        print(f"FAILED {name} | {message}")
    for name, message in sorted(again.items()):
        if name not in failures:
            print(f"passed on the second try: {name} | {message}")
    for text in run.broken:
        print(f"BROKEN {text}")
    stale = []
    if not options.expression and not run.broken:
        for one in lists.values():
            stale += [f"STALE {one.name}: there is no test {test}" for test in one.stale(run.known)]
    print("\n".join(stale), end="\n" if stale else "")
    if run.need_tls:
        print(f"SKIPPED tests/suites/redis-py: the server has no TLS: {run.need_tls} tests", file=sys.stderr)
    passed = len(run.named("passed")) + len(again) - len(failures) * bool(again)
    print(f"redis-py: {passed} passed, {len(failures)} failed, {len(run.named('skipped'))} skipped by the suite itself, "
          f"{len(lists['skipped'].reasons)} skipped here, {len(lists['baseline'].reasons)} that fail with Redis 8.2 too; "
          f"{time.monotonic() - begun:.0f} s; logs in {WORK}")
    return 1 if failures or run.broken or stale or not passed else 0


class Run:
    """The parts of one run, side by side, and what they reported."""

    def __init__(self, namespace, options, parts, selection):
        (WORK / "selection.json").write_text(json.dumps(selection))
        words = ["--parts", str(parts)]
        for name in ("protocol", "legacy_responses", "expression"):
            if (value := getattr(options, name)) is not None:
                words += [f"--{name.replace('_', '-')}", value]
        processes = []
        for part in range(parts):
            with open(WORK / f"part-{part}.log", "wb") as log:
                processes.append(subprocess.Popen([*namespace, sys.executable, HERE / "part.py", "--part", str(part), *words],
                                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        self.outcomes, self.known, self.need_tls, self.broken = {}, set(), 0, []
        for part, process in enumerate(processes):
            process.wait()
            try:
                report = json.loads((WORK / f"part-{part}.json").read_text())
            except (OSError, ValueError) as error:
                self.broken.append(f"part {part}: {error}")
                continue
            self.outcomes.update(report["outcomes"])
            self.known.update(report["known"])
            self.need_tls = report["need_tls"]
            if report["ended"]:
                self.broken.append(f"part {part}: the server has ended:\n{report['log']}")
            if not report["whole"]:
                # pytest has ended on an internal error, as when a timeout strikes between tests. What was left is tried again.
                self.outcomes.update((test, ("failed", "not reached")) for test in report["mine"] if test not in report["outcomes"])

    def named(self, outcome):
        return {name: message for name, (one, message) in self.outcomes.items() if one == outcome}


sys.exit(main())
