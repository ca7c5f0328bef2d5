"""What the tests of task queues share: workers that are killed while they work, and every task done in the end."""

import os
import pathlib
import random
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).parent
TASKS = 200
WORKERS = 2
ROUNDS = 4
SEED = int(os.environ.get("SPINEL_SEED", random.randrange(1 << 32)))


def wait_until(condition, seconds=10, what="the condition"):
    """Polls; a test never just sleeps."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not come true"
        time.sleep(0.005)


class Workers:
    """Worker processes, each the leader of a group, so that what it has forked dies with it."""

    def __init__(self, words, environment, directory):
        self.words, self.environment, self.log_path = words, environment, directory / "workers.log"
        self.running = []

    def start(self, count):
        for _ in range(count):
            with open(self.log_path, "ab") as log:
                self.running.append(subprocess.Popen(
                    self.words, cwd=HERE, env=self.environment, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log))

    def kill(self):
        for process in self.running:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        self.running.clear()

    def log(self):
        return self.log_path.read_text(errors="replace")[-5000:]


def work_through(workers, records, dice, clean_up=lambda: None):
    """Kills all workers several times, at moments that the dice choose, and lets the last ones finish."""
    done = lambda: records.hlen("done")
    for round_ in range(ROUNDS):
        workers.start(WORKERS)
        goal = (round_ + dice.random()) * TASKS / (ROUNDS + 1)
        wait_until(lambda: done() > goal, 60, f"more than {goal:.0f} tasks done ({done()}):\n{workers.log()}")
        workers.kill()
        clean_up()
    workers.start(WORKERS)
    wait_until(lambda: done() == TASKS, 120, f"all tasks done:\n{workers.log()}")
    begun = sum(map(int, records.hvals("begun")))
    # Otherwise nobody was killed at work, and this test has shown nothing.
    assert begun >= TASKS, begun
    print(f"{begun} beginnings for {TASKS} tasks")
