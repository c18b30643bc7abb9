"""For programs without an event loop: the same client, on a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from milepost_client.client import Client, Counters, Subject


class ThreadedClient:
    """Takes what `Client` takes. `close` flushes, also at the end of the program."""

    def __init__(self, url: str, key: str, spool: Path | str, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="milepost", daemon=True)
        self._client = Client(url, key, spool, **options)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._client.start(), self._loop).result()
        atexit.register(self.close)

    @property
    def counters(self) -> Counters:
        """Since the client was made."""
        return self._client.counters

    @property
    def queued(self) -> int:
        """How many wait in the spool."""
        return self._client.queued

    def track(self, kind: str, subject: Subject, data: Mapping[str, Any], **fields: str) -> str | None:
        """As `Client.track`."""
        return self._client.track(kind, subject, data, **fields)

    def flush(self, deadline: float) -> bool:
        """As `Client.flush`, and waits for it."""
        return asyncio.run_coroutine_threadsafe(self._client.flush(deadline), self._loop).result()

    def close(self) -> None:
        """As `Client.close`; a second time does nothing."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._client.close(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            atexit.unregister(self.close)
