"""Web sessions and a page cache: `web_application.py` (Flask) and `django_application.py` as gunicorn serves them, with two processes, driven
over HTTP."""

import http.cookiejar
import os
import pathlib
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

import pytest
import redis

from conftest import free_port, wait_until

HERE = pathlib.Path(__file__).parent


# Each by its module, and the names of the keys that hold pages.
FRAMEWORKS = {"web_application": "flask_cache_*", "django_application": "page:*"}


class Application:
    def __init__(self, module, redis_port, directory, **environment):
        self.module = module
        self.pages = FRAMEWORKS[module]
        self.port = free_port()
        self.log_path = directory / "gunicorn.log"
        self.start = lambda: self._start(redis_port, environment)
        self.start()

    def _start(self, redis_port, environment):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{self.port}",
                 "--chdir", str(HERE), f"{self.module}:application"],
                env={**os.environ, "REDIS_PORT": str(redis_port), "PYTHONDONTWRITEBYTECODE": "1", **environment},
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._answers, 30, "the application's first answer")

    def _answers(self):
        assert self.process.poll() is None, self.log_path.read_text()
        try:
            return Browser(self).get("/basket")[0] == 401
        except urllib.error.URLError:
            return False

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


class Browser:
    """Keeps cookies, as a visitor's browser does."""

    def __init__(self, application):
        self.application = application
        self.cookies = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def request(self, path, form=None):
        data = None if form is None else urllib.parse.urlencode(form).encode()
        try:
            with self.opener.open(f"http://127.0.0.1:{self.application.port}{path}", data, timeout=20) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            assert error.code != 500, self.application.log_path.read_text()
            return error.code, error.read().decode()

    def get(self, path):
        return self.request(path)

    def post(self, path, **form):
        return self.request(path, form)


@pytest.fixture
def stored(server):
    with redis.Redis(port=server.port, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture(params=FRAMEWORKS)
def start_application(request, server, stored, tmp_path):
    applications = []

    def start(**environment):
        applications.append(Application(request.param, server.port, tmp_path, **environment))
        return applications[-1]

    yield start
    for application in applications:
        application.stop()


def test_sessions(start_application, stored):
    application = start_application()
    alice, bob = Browser(application), Browser(application)
    for name, browser in (("alice", alice), ("bob", bob)):
        assert browser.post("/login", user=name) == (200, "welcome")
    for item in ("tea", "milk"):
        assert alice.post("/basket", item=item)[0] == 204
    # Whichever process answers, it is the same session.
    for _ in range(20):
        assert '"basket":["tea","milk"]' in alice.get("/basket")[1]
    assert '"basket":[]' in bob.get("/basket")[1]
    sessions = list(stored.scan_iter("session:*"))
    assert len(sessions) == 2 and all(590 <= stored.ttl(key) <= 600 for key in sessions)

    application.stop()
    application.start()
    assert '"user":"alice"' in alice.get("/basket")[1], "sessions outlive the application"

    assert alice.post("/logout")[0] == 200
    assert alice.get("/basket")[0] == 401 and bob.get("/basket")[0] == 200
    assert len(list(stored.scan_iter("session:*"))) == 1


def test_sessions_expire(start_application, stored):
    application = start_application(SESSION_SECONDS="3")
    browser = Browser(application)
    browser.post("/login", user="alice")
    assert stored.pttl(next(stored.scan_iter("session:*"))) <= 3000
    wait_until(lambda: not list(stored.scan_iter("session:*")), what="the session's end")
    assert browser.get("/basket")[0] == 401


def test_page_cache(start_application, stored):
    application = start_application()
    browser = Browser(application)
    assert browser.get("/catalogue") == (200, "page 1")
    for _ in range(20):
        assert Browser(application).get("/catalogue") == (200, "page 1"), "served from the cache"
    assert all(stored.ttl(key) > 500 for key in stored.scan_iter(application.pages))
    browser.post("/admin/forget-catalogue")
    assert browser.get("/catalogue") == (200, "page 2")

    assert browser.get("/price/tea")[1] == browser.get("/price/tea")[1] == "1"
    browser.post("/admin/forget-prices")
    assert browser.get("/price/tea")[1] == "2"

    assert browser.post("/admin/many")[0] == 204
    browser.post("/admin/clear")
    assert not list(stored.scan_iter(application.pages))
    assert browser.get("/catalogue") == (200, "page 3")


def test_pages_expire(start_application, stored):
    browser = Browser(start_application())
    first = browser.get("/flash")[1]
    wait_until(lambda: browser.get("/flash")[1] != first, what="a new page")
