"""Every scenario, by the name that `--only` takes."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from bench.chaos import postgres_faults, quota_faults, redis_faults, start_faults, worker_faults
from bench.chaos.stage import Figures

Scenario = Callable[[bool], Coroutine[Any, Any, Figures]]
"""Its parameter asks for the short version."""

SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
        redis_faults.memory_bound,
        redis_faults.backlog_bound,
        redis_faults.lost_data,
        redis_faults.counts_anew,
        postgres_faults.postgres_away,
        postgres_faults.full_disk,
        worker_faults.poison,
        worker_faults.frozen_worker,
        worker_faults.half_open,
        worker_faults.stop_under_load,
        quota_faults.limit_under_kills,
        start_faults.wrong_settings,
        start_faults.kill_everything,
    )
}


def about(scenario: Scenario) -> str:
    """What a scenario says of itself."""
    return (scenario.__doc__ or "").split("\n")[0]
