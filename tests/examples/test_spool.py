"""The files in which actions wait: nothing lost and nothing twice, whoever dies when."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from milepost_client import spool as spools
from milepost_client.spool import Spool


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    """An empty one."""
    return Spool(tmp_path)


def line(number: int) -> bytes:
    """One like no other."""
    return b'{"id":"%d"}' % number


def die(spool: Spool) -> None:
    """What the kernel does to the files of a process that ends, however it ends."""
    for segment in (*spool._old, spool._active):
        os.close(segment.fd)


def drained(spool: Spool, most: int = 1000) -> list[bytes]:
    """Everything in it, sent."""
    found = []
    while batch := spool.next(most):
        found += batch.lines
        spool.done(batch)
    return found


def files(folder: Path) -> list[str]:
    """By name."""
    return sorted(path.name for path in folder.iterdir())


def test_in_the_order_in_which_it_came(spool: Spool) -> None:
    for number in range(10):
        assert spool.append(line(number))
    assert spool.queued == 10
    assert drained(spool, 3) == [line(number) for number in range(10)]
    assert (spool.queued, spool.size) == (0, 0)


def test_a_batch_that_is_not_done_comes_again(spool: Spool) -> None:
    spool.append(line(1))
    first, second = spool.next(5), spool.next(5)
    assert first is not None
    assert second is not None
    assert first.lines == second.lines == [line(1)]


def test_the_living_keep_their_files_and_the_dead_leave_theirs(tmp_path: Path) -> None:
    first, second = Spool(tmp_path), Spool(tmp_path)
    first.append(line(1))
    assert second.adopt() == 0
    die(first)
    assert second.adopt() == 1
    assert second.adopt() == 0
    second.append(line(2))
    assert drained(second) == [line(1), line(2)]
    assert files(tmp_path) == [second._active.path.name]


def test_what_has_arrived_is_not_sent_by_the_next_process(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    for number in range(5):
        first.append(line(number))
    batch = first.next(3)
    assert batch is not None
    first.done(batch)
    die(first)
    second = Spool(tmp_path)
    assert second.adopt() == 2
    assert drained(second) == [line(3), line(4)]


def test_a_line_cut_short_is_nobodys(tmp_path: Path) -> None:
    first = Spool(tmp_path)
    first.append(line(1))
    os.write(first._active.fd, b'{"id":"half')
    die(first)
    second = Spool(tmp_path)
    assert second.adopt() == 1
    assert drained(second) == [line(1)]


def test_rubbish_in_a_file_is_handed_out_and_hides_nothing(tmp_path: Path) -> None:
    rubbish = b"\x00\xff\r{\n\n\n" + b'{"sent":99999}\n{"sent":"x"}\n{"sent":-1\n' + line(1) + b"\n"
    (tmp_path / "old.jsonl").write_bytes(rubbish)
    spool = Spool(tmp_path)
    assert spool.adopt() == 2
    assert drained(spool) == [b"\x00\xff\r{", line(1)]


def test_a_closed_spool_leaves_a_file_only_if_something_waits(tmp_path: Path) -> None:
    first, second = Spool(tmp_path), Spool(tmp_path)
    second.append(line(1))
    first.close()
    second.close()
    assert files(tmp_path) == [second._active.path.name]


def test_it_is_bounded(tmp_path: Path) -> None:
    spool = Spool(tmp_path, most_bytes=100)
    kept = [number for number in range(100) if spool.append(line(number))]
    assert len(kept) < 10
    assert spool.size <= 100
    assert spool.append(line(7), always=True)
    assert not spool.append(b"x" * (spools.LINE_BYTES + 1), always=True)
    assert drained(spool) == [*map(line, kept), line(7)]
    assert spool.append(line(8))


def test_large_files_are_followed_by_others_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "SEGMENT_BYTES", 200)
    spool = Spool(tmp_path)
    for number in range(100):
        spool.append(line(number))
    assert len(files(tmp_path)) > 3
    assert drained(spool, 7) == [line(number) for number in range(100)]
    assert len(files(tmp_path)) == 1


def test_marks_without_end_hide_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools, "READ_BYTES", 64)
    for number in range(40):
        spool.append(line(number))
    for number in range(40):
        batch = spool.next(1)
        assert batch is not None
        assert batch.lines == [line(number)]
        if number == 39:
            spool.append(line(40))
        spool.done(batch)
    assert drained(spool) == [line(40)]


def test_any_thread_may_append(spool: Spool) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 500):
            spool.append(line(number))

    threads = [threading.Thread(target=write, args=(first,)) for first in range(0, 4000, 500)]
    for thread in threads:
        thread.start()
    found: list[bytes] = []
    while any(thread.is_alive() for thread in threads):
        found += drained(spool, 50)
    for thread in threads:
        thread.join()
    found += drained(spool)
    assert sorted(found) == sorted(line(number) for number in range(4000))


def test_a_file_that_is_taken_over_before_it_is_locked_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, locked, taken = Spool(tmp_path), spools._locked, list[int]()

    def late(fd: int) -> bool:
        if not taken:
            taken.append(0)  # whatever comes first: the lock of the other's is this function, too
            other.adopt()
            other.next(1)
        return locked(fd)

    monkeypatch.setattr(spools, "_locked", late)
    made = Spool(tmp_path)
    assert taken
    made.append(line(1))
    assert made._active.path.exists()


FORK = """
import os, sys
from pathlib import Path
from milepost_client.spool import Spool
spool = Spool(Path(sys.argv[1]))
spool.append(b'{"id":"0"}')
if os.fork() == 0:
    spool.append(b'{"id":"1"}')
    os._exit(0)
os.wait()
spool.done(spool.next(5))
assert spool.adopt() == 1
print(spool.next(5).lines)
"""

FULL = """
import resource, sys
from pathlib import Path
from milepost_client.spool import Spool
spool = Spool(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
kept = [n for n in range(200) if spool.append(b'{"id":"%d"}' % n)]
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
lines = spool.next(1000).lines
assert lines == [b'{"id":"%d"}' % n for n in kept], lines
print(len(kept))
"""


def run(script: str, folder: Path) -> str:
    """In a process of its own."""
    env = os.environ | {"PYTHONPATH": str(Path(spools.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_child_writes_a_file_of_its_own(tmp_path: Path) -> None:
    assert run(FORK, tmp_path) == '[b\'{"id":"1"}\']'


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    assert 50 < int(run(FULL, tmp_path)) < 100


STEPS = st.lists(st.one_of(st.just("append"), st.integers(1, 4), st.just("die"), st.just("close")), max_size=40)


@given(STEPS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
def test_each_line_arrives_once_and_in_order(tmp_path_factory: pytest.TempPathFactory, steps: list[str | int]) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool, made, arrived = Spool(folder), 0, list[bytes]()
    for step in steps:
        if step == "append":
            spool.append(line(made))
            made += 1
        elif isinstance(step, int):
            if batch := spool.next(step):
                arrived += batch.lines
                spool.done(batch)
        else:
            die(spool) if step == "die" else spool.close()
            spool = Spool(folder)
            spool.adopt()
    assert spool.queued == made - len(arrived)
    assert arrived + drained(spool) == [line(number) for number in range(made)]
    spool.close()
    assert not files(folder)
