"""redis-py's scripts against the server: registered scripts, and the three of its Lock, which kombu (Celery) takes too."""

import pytest
import redis


def test_registered_script(text_client):
    client = text_client
    double = client.register_script("return redis.call('INCRBY', KEYS[1], redis.call('GET', KEYS[1])) + #ARGV")
    client.set("n", 21)
    assert double(keys=["n"]) == 42
    client.script_flush()
    # Loaded again when the server does not know it any more.
    assert double(keys=["n"], args=["x"]) == 85
    assert client.script_exists(double.sha, "0" * 40) == [True, False]
    pipe = client.pipeline()
    pipe.set("n", 1)
    double(keys=["n"], client=pipe)
    assert pipe.execute() == [True, 2]


def test_errors(text_client):
    with pytest.raises(redis.exceptions.NoScriptError):
        text_client.evalsha("0" * 40, 0)
    with pytest.raises(redis.ResponseError, match="Attempt to modify a readonly table"):
        text_client.eval("x = 1", 0)
    with pytest.raises(redis.ResponseError, match="not allowed from read-only scripts"):
        text_client.eval_ro("return redis.call('SET', 'a', 1)", 0)


def test_lock(make_client):
    one, other = make_client(), make_client()
    lock = one.lock("lock", timeout=100)
    assert lock.acquire() and lock.owned() and not other.lock("lock").acquire(blocking=False)
    assert lock.extend(50) and one.ttl("lock") > 100
    assert lock.reacquire() and 0 < one.ttl("lock") <= 100
    lock.release()
    with other.lock("lock", timeout=100, blocking_timeout=0):
        with pytest.raises(redis.exceptions.LockError):
            lock.release()
    assert one.exists("lock") == 0
