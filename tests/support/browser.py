"""A headless Chromium, driven by the WebDriver protocol; the network beyond loopback is refused."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
    # No name is resolved and no other address reached: what the page needs must be on loopback.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--proxy-server=direct://",
]
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"tab": "\ue004", "enter": "\ue007", "space": "\ue00d", "shift": "\ue008"}


class Browser:
    """One window.

    Args:
        client: Speaks to the driver.
        session: The path of the session.
    """

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client = client
        self._session = session

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the value of a WebDriver command."""
        reply = self._client.request(
            method, f"{self._session}{path}", json={} if body is None and method == "POST" else body
        ).json()["value"]
        if isinstance(reply, dict) and "error" in reply:
            raise RuntimeError(f"{reply['error']}: {reply['message'][:500]}")
        return reply

    def open(self, url: str) -> None:
        """Go there."""
        self.call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a script returns."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def devtools(self, command: str, **parameters: Any) -> Any:
        """Return the reply to a DevTools command."""
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """Show the page in a window, or on a phone, of this size in CSS pixels."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def find(self, selector: str) -> str:
        """Return the first element that is there, waiting for it."""
        found = self.wait(
            lambda: self.call("POST", "/elements", {"using": "css selector", "value": selector}),
            selector,
        )
        return str(found[0][_ELEMENT])

    def click(self, selector: str) -> None:
        """Click the element."""
        element = self.find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", {_ELEMENT: element})
        self.call("POST", f"/element/{element}/click")

    def write(self, selector: str, text: str) -> None:
        """Put a text into a field as if it was pasted."""
        self.run(
            "const field = arguments[0]; field.focus(); field.select();"
            "document.execCommand('insertText', false, arguments[1])",
            {_ELEMENT: self.find(selector)},
            text,
        )

    def press(self, *keys: str) -> None:
        """Press keys one after the other, into whatever has the focus."""
        actions = [
            {"type": kind, "value": KEYS.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        body = {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}
        self.call("POST", "/actions", body)

    def text(self, selector: str) -> str:
        """Return the text that is shown."""
        return str(self.call("GET", f"/element/{self.find(selector)}/text"))

    def texts(self, selector: str) -> list[str]:
        """Return the text of every such element."""
        script = "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText)"
        return list(self.run(script, selector))

    def wait(self, until: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Return the first true value."""
        end = time.monotonic() + seconds
        while True:
            value = until()
            if value:
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"{what} did not come; the page says: {self.text('body')[:800]}")
            time.sleep(0.1)

    def shot(self, path: Path, *, whole: bool = True) -> None:
        """Write a picture of the page."""
        picture = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(picture))

    def requested(self) -> list[str]:
        """Return the URLs that were asked for since the last call."""
        found = []
        for entry in self.call("POST", "/se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(str(message["params"]["request"]["url"]))
        return found

    def complaints(self) -> list[str]:
        """Return the errors in the console since the last call."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]


@contextmanager
def browser(language: str = "en-US") -> Iterator[Browser]:
    """Yield a browser with a profile of its own, gone at the end."""
    assert CHROMIUM is not None
    assert DRIVER is not None
    profile = tempfile.mkdtemp(prefix="chromium-")
    driver, port = _driver(DRIVER)
    try:
        options = {
            "binary": CHROMIUM,
            "args": [*FLAGS, f"--user-data-dir={profile}", f"--lang={language}"],
            "prefs": {"intl.accept_languages": f"{language},{language[:2]}"},
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120, trust_env=False) as to:
            made = to.post("/session", json={"capabilities": {"alwaysMatch": wanted}}).json()
            if "sessionId" not in made["value"]:
                raise RuntimeError(made["value"]["message"][:1000])
            session = f"/session/{made['value']['sessionId']}"
            try:
                yield Browser(to, session)
            finally:
                to.delete(session)
    finally:
        driver.terminate()
        driver.wait(30)
        shutil.rmtree(profile, ignore_errors=True)


def _driver(path: str) -> tuple[subprocess.Popen[str], int]:
    """Start a driver; return it and its port.

    It takes a free port of IPv4 and wants the same of IPv6, where it may be taken.
    """
    for _ in range(5):
        driver = subprocess.Popen([path, "--port=0"], stdout=subprocess.PIPE, text=True)
        assert driver.stdout is not None
        for line in driver.stdout:
            if "started successfully on port" in line:
                return driver, int(line.rstrip().rstrip(".").rsplit(" ", 1)[1])
        driver.wait()
    raise RuntimeError("chromedriver did not start")
