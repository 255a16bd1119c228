"""A harvest must be clean even when only a part of the day's sales is filled."""

from datetime import date

import pytest
from small import Small

FRIDAY = date(2026, 3, 6)
OLD, YOUNG = "2025-06-02", "2026-02-20"
IN_PART = "if the day's sales of it are filled in part: "


def reasons(tmp_path, **accounts: list[tuple[str, str, int]]) -> dict[str, str]:
    """Why each account's harvest of XYZ, bought at 100 and at 70 now, is refused; the rows are (id, day, shares)."""
    house = Small(tmp_path / "home", {"XYZ": 70.0})
    for name, lots in accounts.items():
        house.account(name)
        rows = [f"{lot},{on},trade,buy,XYZ,{shares},100,0,{-100 * shares}," for lot, on, shares in lots]
        house.says(name, f"{name}-D,2025-01-02,deposit,,,0,0,0,100000,", *rows)
        held = sum(shares for _, _, shares in lots)
        house.holds(name, FRIDAY, XYZ=str(held), usd=str(100000 - 100 * held))
    house.run(FRIDAY)
    return dict(house.ask("SELECT account_id, reason FROM core.proposals"))


def test_an_old_lot_sold_with_a_young_one_is_refused_for_the_young_one_might_be_left(tmp_path):
    said = reasons(tmp_path, joint=[("A", OLD, 200), ("B", YOUNG, 50)])
    assert said["joint"].startswith(f"{IN_PART}$1,500.00 of loss would be disallowed")


def test_two_accounts_that_sell_young_lots_on_one_day_are_both_refused(tmp_path):
    said = reasons(tmp_path, mine=[("A", YOUNG, 100)], yours=[("B", YOUNG, 100)])
    assert set(said) == {"mine", "yours"} and all(why.startswith(IN_PART) for why in said.values())


@pytest.mark.parametrize(
    "lots",
    [[("A", OLD, 200), ("B", OLD, 50)], [("A", YOUNG, 100)], [("A", "2026-02-03", 200), ("B", "2026-02-04", 50)]],
)
def test_lots_that_can_wash_nothing_when_they_are_left_are_no_obstacle(tmp_path, lots):
    said = reasons(tmp_path, joint=lots)
    assert said["joint"].startswith("no replacement"), (
        "31 days lie between the purchase and the next session, or it is the only lot"
    )


def test_a_young_lot_within_the_limit_is_no_obstacle(tmp_path):
    said = reasons(tmp_path, joint=[("A", OLD, 200), ("B", YOUNG, 1)])
    assert said["joint"].startswith("no replacement")
