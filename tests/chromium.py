"""A headless Chromium, spoken to over a pipe: a page can be looked at wherever the browser is installed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Chromium:
    """A browser with one page. Commands and events are those of the Chrome DevTools protocol.

    Args:
        profile: an empty folder for the browser's own files.
    """

    def __init__(self, profile: Path) -> None:
        assert PROGRAM is not None
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        line = f"exec {PROGRAM} --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --remote-debugging-pipe"
        line += f" --no-first-run --user-data-dir={profile} about:blank 3<&{commands} 4>&{answers}"
        self._process = subprocess.Popen(
            ["bash", "-c", line], pass_fds=(commands, answers), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(commands)
        os.close(answers)
        self._read = os.fdopen(self._in, "rb")
        self._number, self._session, self._rest = 0, "", b""
        self.said: list[str] = []
        """What the page has written to its console, and its errors."""
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "DOM", "Log"):
            self.do(f"{domain}.enable")

    def __enter__(self) -> Chromium:
        return self

    def __exit__(self, *_: object) -> None:
        self._session = ""
        self.do("Browser.close")
        self._process.wait(timeout=30)
        self._read.close()
        os.close(self._out)

    def do(self, method: str, **parameters: Any) -> Any:
        """Send a command; returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._number:
                assert "error" not in said, said["error"]
                return said["result"]
            if said.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
                self.said.append(json.dumps(said["params"]))

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        said = self.do("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Until a JavaScript expression holds."""
        script = f"""new Promise((done, fail) => {{ const end = Date.now() + {1000 * seconds}; const look = () => {{
            let holds = false; try {{ holds = {condition} }} catch {{}}
            holds ? done(true) : Date.now() > end ? fail("never: " + {json.dumps(condition)}) : setTimeout(look, 20) }};
            look() }})"""
        self.run(script)

    def open(self, url: str) -> None:
        """Go to a page, and wait until it is there."""
        self.do("Page.navigate", url=url)
        self.wait(f"location.href === {json.dumps(url)} && document.readyState === 'complete'")

    def press(self, key: str, code: int) -> None:
        """A key, down and up."""
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if text and kind == "keyDown" else {}
            self.do("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def upload(self, selector: str, path: Path) -> None:
        """Choose a file in an input."""
        root = self.do("DOM.getDocument")["root"]["nodeId"]
        node = self.do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.do("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def look(self, width: int, height: int, dark: bool = False) -> None:
        """How large the window is, and which colours its user likes."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.do("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        """A picture of the whole page, as PNG."""
        found = self.do("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def _next(self) -> Any:
        while b"\0" not in self._rest:
            more = os.read(self._in, 2**20)
            assert more, "the browser has ended"
            self._rest += more
        one, _, self._rest = self._rest.partition(b"\0")
        return json.loads(one)
