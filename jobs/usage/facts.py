"""Stub."""

from collections.abc import Sequence
from typing import Final

from jobs.family import StateTable

TABLES: Final[Sequence[StateTable]] = ()
