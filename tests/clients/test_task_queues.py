"""Celery and RQ as they come: producers, workers that are killed while they work, and every task done in the end."""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys

import pytest
import redis
import rq
import rq.registry

from conftest import wait_until

HERE = pathlib.Path(__file__).parent
TASKS = 200
WORKERS = 2
ROUNDS = 4
SEED = int(os.environ.get("SPINEL_SEED", random.randrange(1 << 32)))


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


# Both do several things at once, talk to their workers, and keep small scripts on the server.
NEEDED = "multi exec watch publish subscribe psubscribe evalsha script brpop blmove zadd hset sadd sort".split()


@pytest.fixture
def queue_server(start_server):
    """A server of its own: what is left of killed workers is nobody else's business."""
    server = start_server("--io-threads", "2")
    with redis.Redis(port=server.port) as client:
        known = client.command()
    missing = [name for name in NEEDED if name not in known]
    if missing:
        print(f"SKIPPED: task queues need {missing}", file=sys.__stderr__)
        pytest.skip(f"task queues need {missing}")
    return server


@pytest.fixture
def start_workers(queue_server, tmp_path):
    groups = []

    def start(*words):
        environment = {**os.environ, "REDIS_PORT": str(queue_server.port), "PYTHONDONTWRITEBYTECODE": "1"}
        groups.append(Workers([sys.executable, "-m", *words], environment, tmp_path))
        return groups[-1]

    yield start
    for group in groups:
        group.kill()


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


def test_celery(queue_server, start_workers, monkeypatch):
    print(f"seed {SEED} (run again with SPINEL_SEED={SEED})")
    monkeypatch.setenv("REDIS_PORT", str(queue_server.port))
    sys.modules.pop("task_queue", None)
    import task_queue

    results = [task_queue.celery_square.delay(number) for number in range(TASKS)]
    workers = start_workers("celery", "--app", "task_queue", "worker", "--pool", "solo", "--loglevel", "warning")
    sent_again = []

    def clean_up():
        """Celery takes a task off the queue by one command and notes whose it is by another: a worker that is killed between them
        loses it, whatever the server. So this producer looks for such tasks and sends them again: at most one for each killed worker,
        or somebody else has lost it."""
        wait_until(lambda: connections() <= ours, 60, "the end of the killed workers' connections")
        waiting = [json.loads(message) for message in broker.lrange("celery", 0, -1)]
        taken = [json.loads(entry)[0] for entry in broker.hvals("unacked")]
        somewhere = {message["headers"]["id"] for message in waiting + taken}
        lost = [number for number, result in enumerate(results)
                if not task_queue.records.hexists("done", number) and result.id not in somewhere]
        assert len(lost) <= WORKERS, f"{WORKERS} workers were killed, and tasks {lost} are gone"
        for number in lost:
            task_queue.celery_square.apply_async((number,), task_id=results[number].id)
        sent_again.extend(lost)
        ours.update(connections())

    with redis.Redis(port=queue_server.port) as broker:
        connections = lambda: {client["id"] for client in broker.client_list()}
        task_queue.records.ping()
        ours = connections()
        work_through(workers, task_queue.records, random.Random(SEED), clean_up)
        print(f"sent again: {sent_again}")
    for number, result in enumerate(results):
        assert result.get(timeout=60) == number * number
    with redis.Redis(port=queue_server.port) as broker:
        wait_until(lambda: not broker.exists("celery", "unacked", "unacked_index"), 60, "an empty broker")
    task_queue.application.close()


def test_rq(queue_server, start_workers, monkeypatch):
    print(f"seed {SEED} (run again with SPINEL_SEED={SEED})")
    monkeypatch.setenv("REDIS_PORT", str(queue_server.port))
    sys.modules.pop("task_queue", None)
    import task_queue

    with redis.Redis(port=queue_server.port) as connection:
        queue = rq.Queue("tasks", connection=connection)
        jobs = [queue.enqueue(task_queue.square, number, retry=rq.Retry(max=100)) for number in range(TASKS)]
        started = rq.registry.StartedJobRegistry(queue=queue)

        def clean_up():
            # What a worker does once a killed one has not been heard of for a minute.
            started.cleanup(timestamp=2_000_000_000_000)
            # A worker that is killed between taking a job and beginning it leaves it here, where RQ looks after a minute as well.
            while connection.lmove(queue.intermediate_queue_key, queue.key, "LEFT", "LEFT"):
                pass

        workers = start_workers("rq.cli", "worker", "tasks", "--url", task_queue.URL, "--quiet")
        work_through(workers, task_queue.records, random.Random(SEED), clean_up)
        for number, job in enumerate(jobs):
            wait_until(lambda: job.get_status() == "finished", 60, f"job {number}: {job.get_status()}")
            assert job.return_value() == number * number
        assert queue.count == 0 and started.count == 0
