"""A few bad days from a fixed seed; `make chaos` is the long run, docs/chaos.md says what is found there."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.bugs import BUGS
from tests.chaos.check import RULES
from tests.chaos.process import done

ROOT = Path(__file__).parents[1]


def chaos(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.chaos", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def bad_days() -> str:
    ran = chaos("--seed", "8.0", "--days", "8")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_after_bad_days_the_brokers_journal_and_the_books_agree(bad_days):
    [said] = [line for line in bad_days.splitlines() if " faults met, " in line]
    assert said.startswith("8 days, ") and " 0 violations" in said
    orders, faults = (int(said.split(f" {what}")[0].rpartition(" ")[2]) for what in ("orders", "faults met"))
    assert orders > 8 and faults > 8


@pytest.mark.parametrize("bug", ["fill-id", "unasked", "time-name"])
def test_a_planted_bug_is_found(bug):
    ran = chaos("--seed", "8.0", "--days", "6", "--bug", bug)
    assert ran.returncode == 1 and "VIOLATION" in ran.stdout, ran.stdout + ran.stderr


def test_a_process_that_is_killed_says_nothing():
    assert done(lambda: {"it": "went well"}).told == {"it": "went well"}
    assert done(lambda: os.kill(os.getpid(), signal.SIGKILL)).was_killed


def test_every_bug_and_every_rule_is_said_in_the_documentation():
    told = (ROOT / "docs" / "chaos.md").read_text()
    assert not [name for name in (*BUGS, *RULES) if name not in told]
