"""The audit of the npm package `graphql-http`: GraphQL over HTTP as others read the specification."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.api.graph import PATH
from tests.api.service import Service

VERSIONS = ("graphql-http@1.23.1", "graphql@16.15.0")
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


class AuditSkippedWarning(UserWarning):
    """The audit could not run here."""


def _skip(reason: str) -> None:
    warnings.warn(AuditSkippedWarning(f"GraphQL over HTTP is not audited: {reason}"), stacklevel=2)
    pytest.skip(reason)


def _run(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.filterwarnings("default::tests.api.test_graphql_audit.AuditSkippedWarning")
async def test_nothing_is_missing_that_must_or_should_be(service: Service, tmp_path: Path) -> None:
    if shutil.which("node") is None or shutil.which("npm") is None:
        _skip("node and npm are needed (apt install nodejs npm)")
    (tmp_path / "package.json").write_text("{}")
    install = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", *VERSIONS)
    done = await asyncio.to_thread(_run, *install, cwd=tmp_path)
    if done.returncode:
        _skip(f"npm could not install {VERSIONS[0]}: {done.stderr.strip()[-300:]}")
    (tmp_path / "audit.js").write_text(AUDIT)
    url = str(service.client.make_url(PATH))
    done = await asyncio.to_thread(_run, "node", "audit.js", url, service.key, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(found) >= 61
    assert [one for one in found if one["status"] != "ok"] == []
