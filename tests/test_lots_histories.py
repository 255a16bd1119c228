"""`thresher lots` against a slow reference on random histories, and whether the histories are worth it.

THRESHER_HISTORIES says how many (default 300). A disagreement is shown as the smallest file that still has it.
"""

from __future__ import annotations

import os
from decimal import Decimal

import pytest
from lots_cases import difference, reference_books
from lots_histories import ALSO, WASHED_BY, Comparison, compare, history, report_of

HISTORIES = int(os.environ.get("THRESHER_HISTORIES", "300"))


@pytest.fixture(scope="module")
def done(request: pytest.FixtureRequest) -> Comparison:
    """All histories booked both ways, once; how far it is and the table are said aloud."""
    aloud = request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled

    def say(line: str) -> None:
        with aloud():
            print(f"\n{line}", flush=True)

    comparison = compare(HISTORIES, say)
    say(comparison.table())
    return comparison


def test_the_engine_agrees_with_the_reference(done: Comparison) -> None:
    assert not done.wrong, "\n\n".join(map(report_of, done.wrong[:3]))


def test_a_cent_a_share_and_a_row_are_disagreements() -> None:
    case = history(7)
    books = reference_books(case.rows, case.identical, case.day)
    assert books.disposals and not difference(books, books)
    first, *rest = books.disposals
    for other in (
        [first | {"basis_usd": first["basis_usd"] + Decimal("0.01")}, *rest],
        [first | {"quantity": first["quantity"] + Decimal("1e-9")}, *rest],
        rest,
        [first, first, *rest],
    ):
        assert difference(books._replace(disposals=other), books)


@pytest.mark.parametrize("trait", WASHED_BY)
def test_a_fifth_of_the_histories_has_it(done: Comparison, trait: str) -> None:
    assert done.share(trait) >= 1 / 5, f"{trait}: {WASHED_BY[trait]}"


@pytest.mark.parametrize("trait", ALSO)
def test_a_twentieth_of_the_histories_has_it(done: Comparison, trait: str) -> None:
    assert done.share(trait) >= 1 / 20, f"{trait}: {ALSO[trait]}"
