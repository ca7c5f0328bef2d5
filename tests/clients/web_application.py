"""A shop, as small as can be: sessions and a page cache in Redis, by the framework's own extensions, unmodified.

Flask-Session keeps each visitor's session as a string with a time to live; Flask-Caching keeps pages and results.
"""

import os

import flask
import redis
from flask_caching import Cache
from flask_session import Session

port = int(os.environ["REDIS_PORT"])
application = flask.Flask(__name__)
application.config.update(
    SECRET_KEY="not secret",
    SESSION_TYPE="redis",
    SESSION_REDIS=redis.Redis(port=port),
    PERMANENT_SESSION_LIFETIME=int(os.environ.get("SESSION_SECONDS", "600")),
    CACHE_TYPE="RedisCache",
    CACHE_REDIS_HOST="127.0.0.1",
    CACHE_REDIS_PORT=port,
    CACHE_DEFAULT_TIMEOUT=600,
)
Session(application)
cache = Cache(application)
# Counted in Redis too: it is served by several processes.
rendered = redis.Redis(port=port, db=1)


@application.post("/login")
def login():
    flask.session["user"] = flask.request.form["user"]
    flask.session["basket"] = []
    return "welcome"


@application.post("/basket")
def put():
    flask.session["basket"] = [*flask.session["basket"], flask.request.form["item"]]
    return "", 204


@application.get("/basket")
def basket():
    if "user" not in flask.session:
        return "nobody", 401
    return {"user": flask.session["user"], "basket": flask.session["basket"], "process": os.getpid()}


@application.post("/logout")
def logout():
    flask.session.clear()
    return "bye"


@application.get("/catalogue")
@cache.cached(timeout=600)
def catalogue():
    return f"page {rendered.incr('catalogue')}"


@application.get("/flash")
@cache.cached(timeout=1)
def flash_sale():
    return f"page {rendered.incr('flash')}"


@cache.memoize()
def price(item):
    return rendered.incr("price")


@application.get("/price/<item>")
def show_price(item):
    return str(price(item))


@application.post("/admin/<action>")
def admin(action):
    if action == "forget-catalogue":
        cache.delete("view//catalogue")
    elif action == "forget-prices":
        cache.delete_memoized(price)
    elif action == "clear":
        cache.clear()
    elif action == "many":
        cache.set_many({"a": 1, "b": [2]})
        assert cache.get_many("a", "b", "c") == [1, [2], None]
        assert cache.add("a", 5) is False and cache.add("d", 5) is True
        assert cache.has("d")
        cache.delete_many("a", "b", "d")
    return "", 204
