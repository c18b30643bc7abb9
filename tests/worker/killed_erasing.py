"""`python -m tests.worker.killed_erasing`: like `killed`, but what ends by SIGKILL is the job that erases."""

from __future__ import annotations

from typing import cast

from db import connect
from db.settings import Settings
from tests.worker import killed
from worker import drain, privacy_jobs
from worker.context import Context


async def run() -> None:
    """Carry out what is ordered."""
    settings = Settings(_env_file=None)
    client, pool = connect.redis(settings.log_url), await drain.pool(settings)
    made = {"pool": pool, "settings": settings, "log": client}
    await privacy_jobs.erase_people(cast("Context", made))
    pool.terminate()
    await client.aclose()


if __name__ == "__main__":
    killed.main(run)
