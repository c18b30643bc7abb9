"""A real Chromium, driven over its debugging protocol: no driver, nothing to install beside it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests import tools


class Page:
    """One page of a browser, driven over its debugging protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket, self.number = socket, 0
        self.events: list[dict[str, Any]] = []

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command."""
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            said = await self.socket.receive_json(timeout=60)
            if said.get("id") == self.number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result
            self.events.append(said)

    async def js(self, expression: str) -> Any:
        """The value of an expression."""
        found = await self.do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def key(self, name: str, code: int = 0) -> None:
        """Press a key."""
        for kind in ("rawKeyDown", "keyUp"):
            await self.do("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    async def looks(self, width: int, height: int, scheme: str = "light") -> None:
        """The size of the window, and whether it is dark."""
        narrow = width < 500
        await self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=narrow
        )
        await self.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def shot(self, path: Path, *, whole: bool = True) -> None:
        """A picture of the page."""
        taken = await self.do("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    async def until(self, expression: str) -> Any:
        """Wait for an expression to be true."""
        async with asyncio.timeout(60):
            while not (value := await self.js(expression)):  # noqa: ASYNC110 - a page has no event for us
                await asyncio.sleep(0.05)
        return value


@asynccontextmanager
async def browser(program: str, folder: Path) -> AsyncIterator[Page]:
    """A headless Chromium with one empty page."""
    flags = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--remote-debugging-port=0",
        f"--user-data-dir={folder}",
    )
    running = await asyncio.create_subprocess_exec(
        program, *flags, "about:blank", stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    port = folder / "DevToolsActivePort"
    try:
        async with asyncio.timeout(60):
            while not (port.exists() and port.read_text().count("\n")):  # noqa: ASYNC110 - it tells by a file
                await asyncio.sleep(0.05)
        base = f"http://127.0.0.1:{port.read_text().splitlines()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{base}/json") as answer:
                pages = [one for one in await answer.json() if one["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        running.terminate()
        await running.wait()


def program() -> str:
    """The browser of this machine."""
    return tools.program("chromium", "chromium", "chromium-browser", "google-chrome")
