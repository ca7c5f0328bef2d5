"""The lists of tests that are not run, one a line: `name of the test: reason`. Blank lines and lines that begin with # are passed over."""

import pathlib


class List:
    def __init__(self, path, at_most=None):
        self.name = pathlib.Path(path).name
        self.reasons = {}
        for number, line in enumerate(pathlib.Path(path).read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            # A name holds colons too, but none with a space behind it.
            test, colon, reason = line.partition(": ")
            if not (colon and reason.strip()):
                raise SystemExit(f"{path}:{number}: a test without a reason")
            if test in self.reasons:
                raise SystemExit(f"{path}:{number}: {test} is here twice")
            self.reasons[test] = reason.strip()
        if at_most is not None and len(self.reasons) > at_most:
            raise SystemExit(f"{path} has {len(self.reasons)} tests, which is more than {at_most}")

    def holds(self, test):
        return test in self.reasons

    def stale(self, known):
        """Lines whose test is not among those that exist."""
        return [test for test in self.reasons if test not in known]
