"""Limits as pure arithmetic: whether something is allowed, what is left, how near it is, and how that is said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from jobs.usage.plan_catalog import Usage
from jobs.usage.plans import Limit, Plan, Plans

EXCEEDED: Final = "plan_limit_exceeded"
NO_FEATURE: Final = "feature_not_in_plan"
TOO_LARGE: Final = "file_too_large"


class Standing(NamedTuple):
    """Where a subject stands with one meter. `ends`: when it begins anew, None for a gauge."""

    action: str
    plan: str
    limit: Limit
    used: int
    reserved: int
    ends: datetime | None


def fits(used: int, reserved: int, limit: Limit, quantity: int) -> bool:
    """Whether so much more may be used: up to the limit itself, or over a soft one up to its cap."""
    top = limit.top
    return top is None or used + reserved + quantity <= top


def percentage(used: int, limit: int | None) -> int | None:
    """Of the limit, floor(x + 0.5); None when unlimited. Of 0, whatever is used is all of it."""
    if limit is None:
        return None
    if limit == 0:
        return 100 if used else 0
    return (200 * used + limit) // (2 * limit)


def reached(used: int, limit: int | None, thresholds: Sequence[int]) -> list[int]:
    """The thresholds that are reached: used * 100 >= t * limit."""
    if limit is None or not used:
        return []
    return [one for one in thresholds if used * 100 >= one * limit]


def answer(standing: Standing, usage: Usage, *, allowed: bool | None = None) -> dict[str, Any]:
    """A standing as every answer shows it; the outcome of a decision begins with `allowed`."""
    action, plan, limit, used, reserved, ends = standing
    value = limit.limit
    warnings = reached(used, value, usage.thresholds)
    return ({} if allowed is None else {"allowed": allowed}) | {
        "action": action,
        "used": used,
        "reserved": reserved,
        "limit": value,
        "remaining": None if value is None else max(0, value - used - reserved),
        "percentage": percentage(used, value),
        "unlimited": value is None,
        "resetsAt": None if ends is None else rfc3339(ends),
        "warning": warnings[-1] if warnings else None,
        "plan": plan,
    }


def decide(
    standing: Standing, plans: Plans, usage: Usage, now: datetime, quantity: int, file_size: int | None = None
) -> dict[str, Any]:
    """Whether `quantity` more is allowed: an answer with `allowed`; if not, with `error`, `message` and `upgrade`."""
    body = plans.at(standing.plan, now).body
    limit = standing.limit
    if file_size is not None and body.max_file_size is not None and file_size > body.max_file_size:
        said = f"a file of {file_size} bytes; {body.max_file_size} are the most in the plan {standing.plan}"
        denied = _denied(standing, usage, TOO_LARGE, said) | {"fileSize": file_size, "maxFileSize": body.max_file_size}
        return denied | _upgrade(standing, plans, usage, now, lambda other: _takes(other, file_size))
    if fits(standing.used, standing.reserved, limit, quantity):
        return answer(standing, usage, allowed=True)
    if limit.limit == 0:
        denied = _denied(standing, usage, NO_FEATURE, f"{standing.action} is not in the plan {standing.plan}")
    else:
        said = f"{standing.action}: {standing.used + standing.reserved} of {limit.limit} in the plan {standing.plan}"
        said += f", {quantity} more would be too many" if quantity > 1 else ""
        denied = _denied(standing, usage, EXCEEDED, said)
    return denied | _upgrade(standing, plans, usage, now, lambda other: _more(other, standing))


def _denied(standing: Standing, usage: Usage, code: str, message: str) -> dict[str, Any]:
    return {"error": code, "message": message} | answer(standing, usage, allowed=False)


def _takes(plan: Plan, file_size: int) -> bool:
    return plan.max_file_size is None or file_size <= plan.max_file_size


def _more(plan: Plan, standing: Standing) -> bool:
    """Whether a plan has a higher limit than the one that stopped it."""
    found = plan.limits.get(standing.action)
    if found is None or found.limit is None:
        return True
    return standing.limit.limit is not None and found.limit > standing.limit.limit


def _upgrade(standing: Standing, plans: Plans, usage: Usage, now: datetime, helps: Any) -> dict[str, Any]:
    """Which plan would help, where to get it, and what to say; nothing when none would."""
    found = plans.upgrade(standing.plan, now, helps)
    if found is None:
        return {}
    limit = "unlimited" if standing.limit.limit is None else str(standing.limit.limit)
    url, message = (
        text.replace("{plan}", found).replace("{action}", standing.action).replace("{limit}", limit)
        for text in (usage.upgrade.url, usage.upgrade.message)
    )
    return {"upgrade": {"plan": found, "url": url, "message": message}}


@lru_cache(maxsize=4096)
def rfc3339(at: datetime) -> str:
    """UTC, as everywhere in the API."""
    return at.isoformat().replace("+00:00", "Z")
