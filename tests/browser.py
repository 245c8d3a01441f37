"""A headless Chromium for tests, driven over its DevTools: what a page shows and draws, and what it complains of."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import trio
from trio_websocket import WebSocketConnection, open_websocket_url

CHROMIUM: Final = shutil.which("chromium") or shutil.which("google-chrome")
_PATIENCE: Final = 60.0
_LARGEST: Final = 2**26
_OPTIONS: Final = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
]


class Page:
    """One page in the browser.

    Attributes:
        complaints: Exceptions, and what the page's policy refused.
    """

    def __init__(self, socket: WebSocketConnection) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self.complaints: list[str] = []

    async def attach(self) -> None:
        """Take the browser's one page."""
        targets = (await self.call("Target.getTargets"))["targetInfos"]
        target = next(one["targetId"] for one in targets if one["type"] == "page")
        attached = await self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": attached["sessionId"]}
        for domain in ("Runtime", "Log", "Page"):
            await self.call(f"{domain}.enable")

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser for something, and return the result."""
        number = next(self._numbers)
        await self._socket.send_message(
            json.dumps({"id": number, "method": method, "params": parameters, **self._session})
        )
        while (answer := json.loads(await self._socket.get_message())).get("id") != number:
            if answer.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(json.dumps(answer["params"]))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    async def show(self, place: Path | str, *, dark: bool = False, width: int = 1440, height: int = 900) -> None:
        """Open a file or an address, and wait until it has drawn."""
        await self.look(dark=dark, width=width, height=height)
        await self.call("Page.navigate", url=place if isinstance(place, str) else place.as_uri())
        while await self.value("document.readyState") != "complete":
            pass
        await self.settle()

    async def look(self, *, dark: bool = False, width: int = 1440, height: int = 900) -> None:
        """Be a screen of this size, in a system of these colours."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def wait_for(self, expression: str) -> Any:
        """Wait until an expression is true in the page, and return what it is."""
        while not (found := await self.value(expression)):  # noqa: ASYNC110  # the page has no event of Trio's
            await trio.sleep(0.05)
        return found

    async def type(self, text: str) -> None:
        """Type where the focus is."""
        await self.call("Input.insertText", text=text)
        await self.settle()

    async def settle(self) -> None:
        """Wait until the picture and the lists are as they will be."""
        await self.value("new Promise(done => setTimeout(() => requestAnimationFrame(() => done(1)), 250))")

    async def value(self, expression: str) -> Any:
        """Return what an expression is in the page; a promise's outcome."""
        found = await self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    async def press(self, key: str, *, text: str = "") -> None:
        """Press a key."""
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **({"text": text} if text else {}))
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)
        await self.settle()

    async def mouse(self, what: str, x: float, y: float, **more: Any) -> None:
        """Move the mouse, press its button or turn its wheel."""
        await self.call("Input.dispatchMouseEvent", type=what, x=x, y=y, **more)
        await self.settle()

    async def photograph(self, path: Path) -> None:
        """Save what the page looks like."""
        taken = await self.call("Page.captureScreenshot", format="png")
        await trio.Path(path).write_bytes(base64.b64decode(taken["data"]))


@asynccontextmanager
async def open_page(profile: Path) -> AsyncGenerator[Page]:
    """Run a browser as long as the block runs; its profile is a folder that is there for it alone."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
    browser = await trio.lowlevel.open_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        with trio.fail_after(_PATIENCE):
            async with trio.open_nursery() as nursery:
                url = await nursery.start(_listen, browser)
                async with open_websocket_url(url, max_message_size=_LARGEST) as socket:
                    page = Page(socket)
                    await page.attach()
                    yield page
                nursery.cancel_scope.cancel()
    finally:
        browser.kill()
        with trio.CancelScope(shield=True):
            await browser.wait()


async def _listen(browser: trio.Process, *, task_status: trio.TaskStatus[str]) -> None:
    """Say where the browser listens, and go on reading what it says, so that it never waits for that."""
    said = b""
    assert browser.stderr is not None
    async for chunk in browser.stderr:
        said += chunk
        if found := re.search(rb"(ws://\S+)\s", said):
            task_status.started(found[1].decode())
            break
    async for _ in browser.stderr:
        pass
