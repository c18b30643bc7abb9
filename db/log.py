"""structlog for our own lines and for those of libraries, through the same chain: console in development, JSON else."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable

import structlog

from db.settings import Settings

QUIET = ("aiohttp.access", "asyncio", "arq.worker")


def setup(settings: Settings) -> None:
    """Configure logging of this process once, at its start."""
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and settings.env == "production")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.UnicodeDecoder(),
    ]
    if as_json:
        shared.append(structlog.processors.format_exc_info)
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(),
            pad_event_to=34,
            exception_formatter=structlog.dev.plain_traceback,  # the rich one prints local variables, keys among them
        )
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def get(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that speaks under `name`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


class Seldom:
    """A warning that is said at once, and then every `seconds` at most, with how often it happened."""

    def __init__(
        self, logger: structlog.stdlib.BoundLogger, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.logger, self.seconds, self.now = logger, seconds, now
        self._times: dict[str, int] = {}
        self._next: dict[str, float] = {}

    def __call__(self, event: str, **fields: object) -> None:
        """Say `event` if its time has come; events are told apart by their text."""
        self._times[event] = self._times.get(event, 0) + 1
        now = self.now()
        if now >= self._next.get(event, 0.0):
            self.logger.warning(event, times=self._times.pop(event), **fields)
            self._next[event] = now + self.seconds
