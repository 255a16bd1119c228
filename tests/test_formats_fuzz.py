"""Some hundreds of damaged statements; `make fuzz` reads 50,000. THRESHER_FUZZ says how many."""

import os
import time

import pytest
from statement_fuzz import OUTCOMES, SAMPLES, Hang, Tally, fuzz, time_limit

COUNT = int(os.environ.get("THRESHER_FUZZ", "600"))
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no statements in {SAMPLES} (THRESHER_TEST_DATA)")


@pytest.fixture(scope="module")
def done() -> Tally:
    return fuzz(COUNT)


def test_no_damaged_statement_breaks_a_reader_or_keeps_it_busy(done: Tally) -> None:
    assert not done.broken, "\n\n".join(
        f"{one.seed} {one.sample.file} {one.done}\n{one.said}" for one in done.broken[:3]
    )


def test_damage_is_neither_always_refused_nor_never_noticed(done: Tally) -> None:
    assert all(done.outcomes[outcome] >= COUNT / 10 for outcome in OUTCOMES), done.table()


def test_a_seed_names_the_same_damage_again() -> None:
    assert fuzz(80, seed=7).digest == fuzz(80, seed=7).digest != fuzz(80, seed=8).digest


def test_a_reader_that_hangs_is_stopped() -> None:
    with pytest.raises(Hang), time_limit(0.05):
        time.sleep(30)
