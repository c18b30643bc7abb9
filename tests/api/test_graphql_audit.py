"""The audit of the npm package `graphql-http`: GraphQL over HTTP as others read the specification."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

from tests import tools
from tests.api.graph import PATH
from tests.api.service import Service

AUDIT = """
const { serverAudits } = require("graphql-http");
const [, , url, key] = process.argv;
const fetchFn = (address, init = {}) =>
  fetch(address, { ...init, headers: { ...init.headers, Authorization: `Bearer ${key}` } });
(async () => {
  const found = [];
  for (const audit of serverAudits({ url, fetchFn })) {
    const { name, status, reason } = await audit.fn();
    found.push({ name, status, reason });
  }
  console.log(JSON.stringify(found));
})();
"""


async def test_nothing_is_missing_that_must_or_should_be(service: Service, tmp_path: Path) -> None:
    await asyncio.to_thread(tools.node_modules, tmp_path)
    (tmp_path / "audit.js").write_text(AUDIT)
    url = str(service.client.make_url(PATH))
    words = ("node", "audit.js", url, service.key)
    done = await asyncio.to_thread(
        subprocess.run, words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(found) >= 61
    assert [one for one in found if one["status"] != "ok"] == []
