"""A circuit breaker: who fails again and again is left alone for a while, then tried with one call."""

from __future__ import annotations

from typing import Final, Literal

FAILURES: Final = 5
REST_SECONDS: Final = 10.0


class Breaker:
    """Closed: calls pass. Open, after `failures` in a row: none for `rest` seconds. Half-open: one call decides.

    Times are seconds of any clock that only goes forward, always passed in.
    """

    __slots__ = ("_failed", "_until", "failures", "rest")

    def __init__(self, failures: int = FAILURES, rest: float = REST_SECONDS) -> None:
        self.failures, self.rest = failures, rest
        self._failed = 0
        self._until = 0.0

    def allow(self, now: float) -> bool:
        """Whether a call may go out now; whoever is told so says afterwards how it went.

        A probe that never reports blocks nobody for longer than `rest`.
        """
        if self._failed < self.failures:
            return True
        if now < self._until:
            return False
        self._until = now + self.rest
        return True

    def succeeded(self) -> None:
        """A call was answered: closed."""
        self._failed = 0

    def failed(self, now: float) -> None:
        """A call was not answered; one that set out before the breaker opened does not lengthen the rest."""
        self._failed += 1
        if self._failed == self.failures or now >= self._until - self.rest:
            self._until = now + self.rest

    def state(self, now: float) -> Literal["closed", "open", "half-open"]:
        """For people and figures; it changes nothing."""
        if self._failed < self.failures:
            return "closed"
        return "open" if now < self._until else "half-open"
