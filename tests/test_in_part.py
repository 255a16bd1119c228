"""A sale must be clean even when only a part of the day's sales is filled."""

from datetime import date, datetime
from pathlib import Path

import pytest
from small import Small

from flows.day import Clock, day_of
from flows.decide import lines_of
from flows.evidence import held_back_by_gates
from flows.hand import order
from warehouse.db import writer

FRIDAY = date(2026, 3, 6)
OLD, YOUNG = "2025-06-02", "2026-02-20"
IN_PART = "if the day's sales of it are filled in part: "


def booked(tmp_path: Path, **accounts: list[tuple[str, str, int]]) -> Small:
    """Accounts that bought XYZ at 100, which is at 70 now; the rows are (id, day, shares)."""
    house = Small(tmp_path / "home", {"XYZ": 70.0})
    for name, lots in accounts.items():
        house.account(name)
        rows = [f"{lot},{on},trade,buy,XYZ,{shares},100,0,{-100 * shares}," for lot, on, shares in lots]
        house.says(name, f"{name}-D,2025-01-02,deposit,,,0,0,0,100000,", *rows)
        held = sum(shares for _, _, shares in lots)
        house.holds(name, FRIDAY, XYZ=str(held), usd=str(100000 - 100 * held))
    house.run(FRIDAY)
    return house


def reasons(tmp_path: Path, **accounts: list[tuple[str, str, int]]) -> dict[str, str]:
    """Why each account's harvest is refused."""
    return dict(booked(tmp_path, **accounts).ask("SELECT account_id, reason FROM core.proposals"))


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


# A person's own sales, and the gates ---------------------------------------------------------------------

SATURDAY = datetime(2026, 3, 7, 15)


def by_hand(house: Small, row: str) -> str:
    file = house.home / "mine.csv"
    file.write_text(f"account,side,symbol,quantity\n{row}\n")
    return order(house.settings(), file, only_check=False, clock=Clock(lambda: SATURDAY, lambda _: None))


def test_a_sale_by_hand_that_could_leave_a_young_lot_is_left_out_and_told_why(tmp_path):
    house = booked(tmp_path, joint=[("A", OLD, 200), ("B", YOUNG, 50)])
    said = by_hand(house, "joint,sell,XYZ,250")
    assert f"{IN_PART}$1,500.00 of loss would be disallowed" in said and "decided" not in said
    assert IN_PART not in by_hand(house, "joint,sell,XYZ,240"), "ten of the young ones are left in any case"


def test_a_sale_by_hand_of_old_lots_alone_is_decided(tmp_path):
    house = booked(tmp_path, joint=[("A", OLD, 200), ("B", OLD, 50)])
    assert "decided: " in by_hand(house, "joint,sell,XYZ,250")


def test_the_gate_asks_it_again_until_a_part_of_the_sale_was_sent(tmp_path):
    house = booked(tmp_path, joint=[("A", OLD, 200), ("B", YOUNG, 50)])
    house.portfolio += "[gates]\nmax_washed_usd = 2000\n"
    assert "decided: " in by_hand(house, "joint,sell,XYZ,250")
    house.portfolio = house.portfolio.replace("max_washed_usd = 2000", "max_washed_usd = 50")
    settings = house.settings()
    with writer(settings.warehouse) as warehouse:
        day = day_of(settings, FRIDAY, SATURDAY)
        [line] = lines_of(warehouse, date(2026, 3, 9))
        washed = [
            row.reason for row in held_back_by_gates(warehouse, day, [line], line.session_on) if row.gate == "wash_sale"
        ]
        assert len(washed) == 1 and washed[0].startswith(IN_PART)
        warehouse.add("ledger.intents", ("it", *line.key, 1, 200, None, None, "", SATURDAY))
        rest = line._replace(quantity=line.quantity - 200)
        held_back = held_back_by_gates(warehouse, day, [rest], line.session_on)
    assert "wash_sale" not in {row.gate for row in held_back}


# Buy, buy, sell ------------------------------------------------------------------------------------------


def allowing(house: Small, more: str = "") -> Small:
    house.portfolio += f"[harvest]\nbuy_buy_sell = true\n{more}"
    return house


def test_by_choice_an_earlier_purchase_may_keep_a_part_of_a_loss(tmp_path):
    house = booked(tmp_path, joint=[("A", OLD, 200), ("B", YOUNG, 50)])
    assert "left out" in by_hand(house, "joint,sell,XYZ,200")
    said = by_hand(allowing(house), "joint,sell,XYZ,200")
    assert "decided: " in said and "$1,500.00 of loss would be disallowed" in said and "the limits let it pass" in said


def test_a_purchase_of_the_same_day_is_no_earlier_one(tmp_path):
    house = allowing(booked(tmp_path, mine=[("A", OLD, 200)], yours=[("B", OLD, 1)]))
    assert "left out: sell XYZ in mine" in by_hand(house, "mine,sell,XYZ,100\nyours,buy,XYZ,10")


def test_what_an_ira_bought_before_is_lost_for_good_and_not_allowed(tmp_path):
    house = allowing(booked(tmp_path, joint=[("A", OLD, 200)], ira=[("B", YOUNG, 50)]))
    house.portfolio = house.portfolio.replace(
        'id = "ira"\nname = "ira"\ntype = "taxable"', 'id = "ira"\nname = "ira"\ntype = "roth_ira"'
    )
    house.run(FRIDAY)
    assert "for good" in by_hand(house, "joint,sell,XYZ,200") and not house.ask("FROM ledger.batch_lines")


@pytest.mark.parametrize(("old", "reason"), [(200, "no replacement"), (55, "an earlier purchase leaves $150.00 of it")])
def test_a_harvest_takes_what_an_earlier_purchase_leaves_of_it_if_that_is_enough(tmp_path, old, reason):
    house = booked(tmp_path, mine=[("A", OLD, old)], yours=[("B", YOUNG, 50)])
    allowing(house, "min_loss_usd = 1600\nmin_loss_rate = 1\n").run(FRIDAY)  # of the young lot the loss is too small
    [(said,)] = house.ask("SELECT reason FROM core.proposals ")
    assert said.startswith(reason)
