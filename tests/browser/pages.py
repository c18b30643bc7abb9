"""Pages of somebody else's product, from another origin than Milepost's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

SHOP = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<script src="{url}milepost.js" data-key="{key}" data-hover="0"{more} async></script></head><body>
<section data-milepost-category="frame">
  <h2>Frame</h2>
  <button id="plain" data-milepost-element="frame-plain">Look</button>
  <button id="oak" data-milepost-value="oak">Oak</button> <button id="pine" data-milepost-value="pine">Pine</button>
</section>
<section data-milepost-category="size">
  <form><select id="height" name="height"><option value="75">75</option><option value="80">80</option></select>
  <input type="radio" name="feet" id="low" value="low" checked><input type="radio" name="feet" id="high" value="high">
  </form>
</section>
<form><input type="password" id="password" name="password"><input id="note" name="note">
<div data-milepost-private><input type="checkbox" id="private"></div></form>
<div data-milepost-off><button id="off">Not this one</button></div>
<div style="height: 3000px"></div>
<section data-milepost-category="leave"><a id="on" href="/second?coupon=secret">On</a></section>
</body></html>"""

EMBEDDING = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Embedding</title>
<script type="module" src="{url}demo/components.js"></script></head><body>
<milepost-checklist base="{url}" heading="Begin"></milepost-checklist><milepost-usage base="{url}"></milepost-usage>
</body></html>"""


class Gate:
    """A proxy before Milepost, below a path of its own, which may be shut."""

    def __init__(self, url: str) -> None:
        self.url, self.is_open = url, True
        self.bodies: list[str] = []
        self.answers: list[int] = []

    async def forward(self, request: web.Request) -> web.Response:
        """To Milepost, or 503."""
        self.bodies.append(await request.text())
        if not self.is_open:
            self.answers.append(503)
            return web.Response(status=503)
        url = f"{self.url}{request.match_info['path']}?{request.query_string}"
        headers = {"Content-Type": request.headers["Content-Type"]}
        async with (
            aiohttp.ClientSession() as client,
            client.post(url, data=await request.read(), headers=headers) as answer,
        ):
            self.answers.append(answer.status)
            return web.Response(status=answer.status, body=await answer.read())


@asynccontextmanager
async def shop(html: str, url: str, **values: str) -> AsyncIterator[tuple[str, Gate]]:
    """The address of a site all of whose pages are this one, and its way to Milepost at `/gate/`."""
    gate = Gate(url)

    async def page(request: web.Request) -> web.Response:
        text = html.format(title=f"Shop {request.path}", url=url, **{"more": "", **values})
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_post("/gate/{path:.*}", gate.forward)
    app.router.add_get("/{path:.*}", page)
    async with TestServer(app) as server:
        yield str(server.make_url("/")), gate
