"""The commands of an operator, run as processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping

from bench.chaos.system import ROOT, System, Violation


async def command(system: System, *words: str, env: Mapping[str, str] | None = None) -> tuple[int, str]:
    """`python -m <words>` as an operator runs it: its exit code, and what it said."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MILEPOST_")}
    urls = {"MILEPOST_DATABASE_URL": system.database_url, "MILEPOST_REDIS_URL": system.redis_url}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", *words),
        cwd=ROOT,
        env=plain | urls | dict(env or {}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    except TimeoutError:
        process.kill()
        raise Violation(f"{' '.join(words)} did not end within a minute") from None
    return process.returncode or 0, said.decode(errors="replace")
