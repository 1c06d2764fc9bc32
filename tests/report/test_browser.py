"""The page in a real browser: headless Chromium, driven through its DevTools pipe."""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest

from certvq.report import write_report

pytestmark = pytest.mark.browser

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
# DevTools speaks on descriptors 3 and 4; this puts the two ends of our pipes there
_LAUNCHER = """
import fcntl, os, sys
high = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
os.dup2(high[0], 3), os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
_PATIENCE = 60.0


class Browser:
    """One tab of one Chromium; `events` keeps all that it reported."""

    def __init__(self, executable, profile):
        read_end, self._to = os.pipe()
        self._from, write_end = os.pipe()
        launch = (sys.executable, "-c", _LAUNCHER, str(read_end), str(write_end))
        self._process = subprocess.Popen(
            (*launch, executable, *_FLAGS, f"--user-data-dir={profile}", "about:blank"),
            pass_fds=(read_end, write_end),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(read_end)
        os.close(write_end)
        self.events = []
        self._number, self._buffer, self._session = 0, b"", None

    def attach(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def _receive(self):
        deadline = time.monotonic() + _PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0, deadline - time.monotonic()))
            chunk = os.read(self._from, 1 << 16) if ready else b""
            assert chunk, f"Chromium did not answer; its exit status is {self._process.poll()}"
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def resize(self, width, *, dark=False):
        """Take the look of a screen `width` CSS pixels wide, light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=800,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.settle()

    def open(self, path):
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())
        self.settle()

    def settle(self):
        """Wait until two frames are drawn, and with them every event of a change of the screen."""
        self.evaluate("new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)))")

    def wait(self, condition):
        """Wait until an expression is true; charts are redrawn some time after a change."""
        deadline = time.monotonic() + _PATIENCE
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.05)

    def evaluate(self, expression):
        result = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key):
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, path):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        """End Chromium, which leaves when its pipe is closed, and whatever it started."""
        os.close(self._to)
        os.close(self._from)
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = [path for path in map(shutil.which, _NAMES) if path]
    if not found:
        reason = f"none of {', '.join(_NAMES)} is installed"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
    browser = Browser(found[0], tmp_path_factory.mktemp("profile"))
    try:
        browser.attach()
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module")
def page(fabricate, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shown") / "run"
    return write_report(fabricate(folder, ["harbour", "hills", "portrait"]))


def _complaints(browser):
    """Everything that a console would show as an error, and every uncaught exception."""
    kinds = {
        "Log.entryAdded": lambda event: event["entry"]["level"],
        "Runtime.consoleAPICalled": lambda event: event["type"],
        "Runtime.exceptionThrown": lambda event: "error",
    }
    return [
        event
        for event in browser.events
        if event["method"] in kinds and kinds[event["method"]](event["params"]) == "error"
    ]


def _background(browser):
    return browser.evaluate("getComputedStyle(document.body).backgroundColor")


def _toggle(browser):
    browser.evaluate("document.getElementById('theme').click()")
    browser.settle()


def test_pictures_and_charts_are_drawn_without_a_complaint(browser, page):
    browser.resize(1200)
    browser.open(page)
    widths = browser.evaluate("[...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 15
    assert min(widths) > 0
    assert browser.evaluate("document.querySelectorAll('.chart').length") == 7
    browser.wait(
        "[...document.querySelectorAll('.chart')].every("
        "chart => chart.querySelector('svg .bars path, svg path.js-line'))"
    )
    assert browser.evaluate("document.compatMode") == "CSS1Compat"
    assert _complaints(browser) == []


def test_nothing_is_asked_of_any_host(browser, page):
    browser.resize(1200)
    browser.open(page)
    asked = {
        event["params"]["request"]["url"].partition(":")[0]
        for event in browser.events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert "file" in asked
    assert asked <= {"file", "data", "blob"}
    loaded = browser.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if name.startswith("http")] == []


def test_a_request_to_a_host_would_be_seen_and_is_forbidden(browser, page):
    browser.resize(1200)
    browser.open(page)
    browser.evaluate(
        "document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/'}))"
    )
    browser.settle()
    [complaint] = _complaints(browser)
    assert "violates the following Content Security Policy" in json.dumps(complaint)


def test_nothing_hangs_over_the_side(browser, page):
    browser.resize(360)
    browser.open(page)
    browser.evaluate("document.querySelectorAll('details').forEach(item => item.open = true)")
    for width in (360, 768, 1200):
        browser.resize(width)
        inner, content = browser.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        assert inner == width
        assert content <= width


def test_a_failed_run_fits_a_telephone_too(browser, run_dir, change_summary):
    change_summary(audit_violations=3, roundtrip_bit_exact=False)
    browser.resize(360)
    browser.open(write_report(run_dir))
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    alarm = browser.evaluate("document.querySelector('[role=alert]').getBoundingClientRect().top")
    assert 0 < alarm < 800


def test_charts_follow_the_width(browser, page):
    width = "document.querySelector('.chart svg').getBoundingClientRect().width"
    browser.resize(1200)
    browser.open(page)
    browser.wait(f"{width} > 1000")
    browser.resize(360)
    browser.wait(f"{width} < 360")


def test_page_and_charts_follow_the_theme_of_the_system(browser, page):
    chart_ink = "getComputedStyle(document.querySelector('.chart .xtick text')).fill"
    page_ink = "getComputedStyle(document.querySelector('figcaption')).color"
    browser.resize(1200)
    browser.open(page)
    light, ink = _background(browser), browser.evaluate(page_ink)
    browser.wait(f"{chart_ink} === {page_ink}")
    browser.resize(1200, dark=True)
    assert _background(browser) != light
    assert browser.evaluate(page_ink) != ink
    browser.wait(f"{chart_ink} === {page_ink}")


def test_toggle_overrules_the_system_and_is_remembered(browser, page):
    browser.resize(1200)
    browser.open(page)
    light = _background(browser)
    _toggle(browser)
    dark = _background(browser)
    assert dark != light
    assert browser.evaluate("Object.keys(localStorage)") == ["certvq-theme"]
    browser.open(page)
    assert _background(browser) == dark
    assert browser.evaluate("document.getElementById('theme').textContent") == "Light theme"
    _toggle(browser)
    assert _background(browser) == light
    browser.evaluate("localStorage.clear()")


def test_viewer_shows_the_versions_of_one_photograph(browser, page):
    shown = "document.querySelector('dialog img').alt"
    browser.resize(1200)
    browser.open(page)
    browser.evaluate("document.querySelectorAll('.zoom')[3].click()")
    assert browser.evaluate("document.querySelector('dialog').open")
    assert browser.evaluate(shown) == "Original of hills"
    seen = []
    for _ in range(5):
        browser.press("ArrowRight")
        seen.append(browser.evaluate(shown).partition(" of hills")[0])
    assert seen == ["Reconstruction", "k-means codec", "Token map", "Stability map", "Original"]
    browser.evaluate("document.querySelector('dialog .choices').lastElementChild.click()")
    assert not browser.evaluate("document.querySelector('dialog').open")
    assert _complaints(browser) == []
