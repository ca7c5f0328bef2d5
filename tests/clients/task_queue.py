"""The tasks that test_task_queues.py has done by Celery and RQ: each says that it was done, and returns a square."""

import os
import time

import celery
import redis

PORT = int(os.environ["REDIS_PORT"])
URL = f"redis://127.0.0.1:{PORT}/0"

application = celery.Celery("task_queue", broker=URL, backend=URL)
application.conf.update(
    # A task counts as taken when it is done: one whose worker was killed is given to another one …
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    # … soon; and what a killed worker held locked is free again soon.
    broker_transport_options={
        "visibility_timeout": 2,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        "unacked_mutex_expire": 3,
    },
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)

records = redis.Redis(port=PORT, db=1)


def square(number):
    records.hincrby("begun", number, 1)
    # Long enough that a worker that is killed has mostly begun something.
    time.sleep(0.01)
    records.hincrby("done", number, 1)
    return number * number


celery_square = application.task(name="task_queue.square")(square)
