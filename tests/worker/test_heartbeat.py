"""How much a process says it applies, by partition and over the last minute."""

from __future__ import annotations

from worker.heartbeat import Beats

START = 1_000.0


def test_rates_are_of_the_last_minute() -> None:
    beats = Beats(START)
    first = beats.tell(START, {}, None)
    assert first == {"at": START, "started": START, "applied": 0, "rates": {}, "failure": None}
    assert beats.tell(START + 10, {0: 50, 3: 5}, None)["rates"] == {"0": 5.0, "3": 0.5}
    for beat in range(3, 14):
        beats.tell(START + 5 * beat, {0: 50, 3: 5 + beat}, None)
    assert beats.tell(START + 70, {0: 50, 3: 19}, "TimeoutError") == {
        "at": START + 70,
        "started": START,
        "applied": 69,
        "rates": {"3": 0.23},
        "failure": "TimeoutError",
    }
    assert beats.tell(START + 200, {0: 50, 3: 19}, None)["rates"] == {}


def test_a_young_process_tells_no_more_than_it_did() -> None:
    assert Beats(START).tell(START + 0.1, {7: 40}, None)["rates"] == {"7": 40.0}


def test_a_clock_that_is_set_back_makes_no_rate() -> None:
    beats = Beats(START)
    beats.tell(START + 50, {0: 5_000}, None)
    assert beats.tell(START - 3_600, {0: 5_010}, None)["rates"] == {}
    assert beats.tell(START - 3_590, {0: 5_020}, None)["rates"] == {"0": 1.0}
