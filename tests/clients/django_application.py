"""The shop of web_application.py once more, with the same addresses: Django, its sessions and page cache by django-redis, unmodified."""

import os

import django
import redis
from django.conf import settings
from django.core.cache import caches
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import cache_page

port = int(os.environ["REDIS_PORT"])
location = f"redis://127.0.0.1:{port}/0"
settings.configure(
    SECRET_KEY="not secret",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
    CACHES={
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": location,
            "KEY_PREFIX": "page",
            "TIMEOUT": 600,
            "OPTIONS": {"COMPRESSOR": "django_redis.compressors.zlib.ZlibCompressor"},
        },
        "sessions": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": location,
            "KEY_PREFIX": "session",
            "OPTIONS": {"SERIALIZER": "django_redis.serializers.json.JSONSerializer"},
        },
    },
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_CACHE_ALIAS="sessions",
    SESSION_COOKIE_AGE=int(os.environ.get("SESSION_SECONDS", "600")),
)
django.setup()
cache = caches["default"]
# Counted in Redis too: it is served by several processes.
rendered = redis.Redis(port=port, db=1)


def login(request):
    request.session["user"] = request.POST["user"]
    request.session["basket"] = []
    return HttpResponse("welcome")


def basket(request):
    if request.method == "POST":
        request.session["basket"] = [*request.session["basket"], request.POST["item"]]
        return HttpResponse(status=204)
    if "user" not in request.session:
        return HttpResponse("nobody", status=401)
    return JsonResponse({"user": request.session["user"], "basket": request.session["basket"], "process": os.getpid()},
                        json_dumps_params={"separators": (",", ":")})


def logout(request):
    request.session.flush()
    return HttpResponse("bye")


@cache_page(600)
def catalogue(request):
    return HttpResponse(f"page {rendered.incr('catalogue')}")


@cache_page(1)
def flash_sale(request):
    return HttpResponse(f"page {rendered.incr('flash')}")


def show_price(request, item):
    return HttpResponse(str(cache.get_or_set(f"price:{item}", lambda: rendered.incr("price"))))


def admin(request, action):
    if action == "forget-catalogue":
        assert cache.delete_pattern("views.decorators.cache.*") > 0
    elif action == "forget-prices":
        assert cache.delete_pattern("price:*") == 1
    elif action == "clear":
        cache.clear()
    elif action == "many":
        cache.set_many({"a": 1, "b": [2], "c": "x" * 10000})
        assert cache.get_many(["a", "b", "c", "none"]) == {"a": 1, "b": [2], "c": "x" * 10000}
        assert cache.add("a", 5) is False and cache.add("d", 5) is True
        assert cache.incr("a", 41) == 42 and cache.decr("a", 2) == 40
        assert "d" in cache and 590 <= cache.ttl("d") <= 600
        assert cache.expire("d", 1000) and cache.pttl("d") > 990_000 and cache.persist("d") and cache.ttl("d") is None
        assert cache.touch("d", 100) and 0 < cache.ttl("d") <= 100
        assert cache.set("e", 1, nx=True) is True and not cache.set("e", 2, nx=True)
        assert sorted(cache.keys("[a-e]")) == sorted(cache.iter_keys("[a-e]")) == ["a", "b", "c", "d", "e"]
        cache.set("a", "another", version=2)
        assert cache.get("a") == 40 and cache.get("a", version=2) == "another" and cache.incr_version("b") == 2
        with cache.lock("lock", timeout=100):
            assert not cache.lock("lock", timeout=100, blocking_timeout=0).acquire()
        cache.delete_many(["a", "c", "d", "e"])
    return HttpResponse(status=204)


urlpatterns = [
    path("login", login),
    path("basket", basket),
    path("logout", logout),
    path("catalogue", catalogue),
    path("flash", flash_sale),
    path("price/<item>", show_price),
    path("admin/<action>", admin),
]
application = get_wsgi_application()
