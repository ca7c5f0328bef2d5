"""Celery and RQ as they come: producers, workers that are killed while they work, and every task done in the end."""

import json
import random
import sys

import redis
import rq
import rq.registry

from workers import SEED, TASKS, WORKERS, wait_until, work_through


def test_celery(queue_server, start_workers, monkeypatch):
    print(f"seed {SEED} (run again with SPINEL_SEED={SEED})")
    monkeypatch.setenv("REDIS_PORT", str(queue_server.port))
    sys.modules.pop("task_queue", None)
    import task_queue

    results = [task_queue.celery_square.delay(number) for number in range(TASKS)]
    workers = start_workers(sys.executable, "-m", "celery", "--app", "task_queue", "worker", "--pool", "solo", "--loglevel", "warning")
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

        workers = start_workers(sys.executable, "-m", "rq.cli", "worker", "tasks", "--url", task_queue.URL, "--quiet")
        work_through(workers, task_queue.records, random.Random(SEED), clean_up)
        for number, job in enumerate(jobs):
            wait_until(lambda: job.get_status() == "finished", 60, f"job {number}: {job.get_status()}")
            assert job.return_value() == number * number
        # What a killed worker had begun may have come back by both ways: a second time it is taken off the queue like any other.
        wait_until(lambda: queue.count == 0 and started.count == 0, 60, f"an empty queue: {queue.job_ids}, {started.get_job_ids()}")
