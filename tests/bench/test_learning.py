"""Course data through the whole pipe: what the files say is what Postgres holds, however often it is played."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import pytest

from bench import learning
from tests.jobs.commands import Operator

OULAD = Path(__file__).parents[2].parent / "shared" / "data" / "oulad"
needs_data = pytest.mark.skipif(not OULAD.exists(), reason=f"THE REAL DATA IS NOT HERE ({OULAD}): nothing was counted")

TABLES: dict[str, tuple[tuple[str, ...], list[tuple[str, ...]]]] = {
    "courses.csv": (("course_id", "starts_on", "length_days"), [("AAA-2013J", "2013-10-01", "268")]),
    "lessons.csv": (
        ("course_id", "id_assessment", "assessment_type", "date", "weight"),
        [("AAA-2013J", "1", "TMA", "19", "10"), ("AAA-2013J", "2", "Exam", "", "100")],
    ),
    "registrations.csv.gz": (
        ("course_id", "id_student", "registered_on", "unregistered_on", "final_result"),
        [("AAA-2013J", "7", "2013-04-25", "", "Pass"), ("AAA-2013J", "8", "", "", "Fail")],
    ),
    "submissions.csv.gz": (
        ("submitted_on", "id_student", "course_id", "id_assessment", "score"),
        [
            ("2013-11-01", "7", "AAA-2013J", "1", "80"),
            ("2014-05-01", "7", "AAA-2013J", "2", ""),
            ("2013-11-02", "8", "AAA-2013J", "1", "3"),
        ],
    ),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two students of one course with two lessons; one of them submits both."""
    for name, (head, rows) in TABLES.items():
        text = io.StringIO()
        csv.writer(text).writerows([head, *rows])
        body = text.getvalue().encode()
        (tmp_path / name).write_bytes(gzip.compress(body) if name.endswith(".gz") else body)
    return tmp_path


async def test_what_follows_from_the_files_is_there_and_a_second_play_adds_nothing(
    operator: Operator, folder: Path
) -> None:
    for new in (True, False):
        ran = await operator.run("--data", str(folder), module="bench.demo")
        assert ran.code == 0, ran.err
        assert "accepted = applied: yes  5 different actions accepted, 5 applied" in ran.out
        assert ran.out.count("as counted from the files alone") == 4
        assert "NOT as counted" not in ran.out
        assert ("5 were there before this play" in ran.out) is not new


def test_the_expected_certificates_are_of_those_who_did_everything(folder: Path) -> None:
    expected = learning.read(folder).expected
    assert expected is not None
    assert expected.certificates == {("student-7", "AAA-2013J")}
    assert (expected.courses, expected.enrolments, expected.completed) == (1, 2, 3)


@needs_data
def test_the_real_files() -> None:
    stretch = learning.read(OULAD)
    assert stretch.number == 32_593 + 173_912
    assert stretch.expected is not None
    assert (stretch.expected.courses, stretch.expected.completed) == (22, 173_912)
    assert len(stretch.expected.certificates) == 13_435
