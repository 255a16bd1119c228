"""Bands, cash flow and volatility: what is due by class, and that it adds up."""

import os
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.rebalancing import RULES, monthly_returns, outcome
from flows.policy import Bands
from transforms.portfolio.bands import (
    CASH,
    Held,
    back_to,
    drift_cost,
    half_width,
    is_due,
    is_outside,
    trade_back,
)
from transforms.portfolio.cash_flow import Withdrawal, due, in_trades, levelled, missing, spare, unmade
from transforms.portfolio.drift import drift
from transforms.portfolio.volatility_bands import class_returns, covariance, recent, scales, volatilities

D = Decimal
CENT = D("0.01")


def household(total: int = 100_000, **classes: tuple[float, float, float]) -> dict[str, Held]:
    """Classes by their weight, target and band."""
    return {name: Held(D(repr(w)) * total, target, band) for name, (w, target, band) in classes.items()}


# The published cases ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "is_traded", "to"), [(0.7201, True, 0.66), (0.72, False, 0), (0.4799, True, 0.54), (0.48, False, 0)]
)
def test_opportunistic_rebalancing_triggers_at_48_and_72_and_comes_back_to_54_and_66(weight, is_traded, to):
    band = half_width(0.60, absolute=1.0, relative=0.20)
    assert is_outside(weight, 0.60, band) is is_traded
    if is_traded:
        assert back_to(weight, 0.60, band, "half") == pytest.approx(to)


def test_that_case_in_dollars_of_a_household():
    held = household(Stocks=(0.73, 0.60, 0.12), Bonds=(0.27, 0.40, 0.20))
    sells, buys = trade_back(held, "half")
    assert (sells, buys) == ({"Stocks": D(7000)}, {"Bonds": D(7000)})
    assert trade_back(held, "target")[0] == {"Stocks": D(13000)} and trade_back(held, "edge")[0] == {"Stocks": D(1000)}


def test_the_tighter_of_5_points_and_20_percent_is_the_default():
    policy = Bands()
    widths = [half_width(t, policy.absolute, policy.relative, policy.of_both) for t in (0.60, 0.25, 0.10, 0.0)]
    assert widths == pytest.approx([0.05, 0.05, 0.02, 0.05])
    assert half_width(0.60, 0.05, 0.20, "wider") == pytest.approx(0.12)


SHILLER = (
    Path(os.environ.get("THRESHER_TEST_DATA") or Path(__file__).parents[2] / "shared").absolute()
    / "data"
    / "shiller_monthly.parquet"
)


@pytest.mark.skipif(
    not SHILLER.exists(), reason=f"{SHILLER} is not there: THRESHER_TEST_DATA names the folder above it"
)
def test_84_years_of_months_without_a_threshold_are_1008_rebalancings_and_with_one_a_few():
    """Published for 1926-2009: 1,008 and, looking once a year with 10 points, 15; on these data, monthly means, it is 11."""
    returns = monthly_returns(SHILLER)
    made = {rule.name: outcome(returns, rule).events for rule in RULES}
    assert len(returns) == 1008 == made["monthly, no threshold"]
    assert made["annual, 10 points"] == 11 and made["annual, no threshold"] == 84
    assert made["annual, 10 points"] < made["monthly, 10 points"] < made["monthly, 5 points"] < 1008


# When -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("look", "days"), [("daily", 1), ("weekly", 7), ("biweekly", 14)])
def test_looking_day_by_day_each_period_is_looked_at_once_on_its_first_session(look, days):
    sessions = [day for n in range(140) if (day := date(2025, 12, 1) + timedelta(days=n)).weekday() < 5]
    looked = [day for before, day in pairwise(sessions) if is_due(look, day, before)]
    if days > 1:
        assert {(b - a).days for a, b in pairwise(looked)} == {days} and {day.weekday() for day in looked} == {0}
    else:
        assert looked == sessions[1:]


def test_a_look_that_was_missed_is_made_up_for_on_the_next_day_there_is():
    assert not is_due("weekly", date(2026, 3, 12), date(2026, 3, 10)), "Thursday after Tuesday"
    assert is_due("weekly", date(2026, 3, 12), date(2026, 3, 6)), "nothing was decided on Monday to Wednesday"


# What -------------------------------------------------------------------------------------------------


def test_nothing_is_traded_while_every_class_is_in_its_band():
    assert trade_back(household(Stocks=(0.64, 0.60, 0.05), Bonds=(0.36, 0.40, 0.05)), "target") == ({}, {})


def test_what_a_sale_brings_goes_to_what_is_furthest_below_though_it_is_in_its_band():
    held = household(Energy=(0.20, 0.10, 0.02), Health=(0.36, 0.40, 0.05), Banks=(0.44, 0.50, 0.07))
    sells, buys = trade_back(held, "target")
    assert sells == {"Energy": D(10_000)} and buys == {"Banks": D(6000), "Health": D(4000)}
    assert trade_back(held, "edge") == ({"Energy": D(8000)}, {"Banks": D(5000), "Health": D(3000)}), "levelled"


def test_what_a_purchase_lacks_comes_from_what_is_furthest_above_though_it_is_in_its_band():
    held = household(Energy=(0.04, 0.10, 0.02), Health=(0.44, 0.40, 0.05), Banks=(0.52, 0.50, 0.05))
    sells, buys = trade_back(held, "half")
    assert buys == {"Energy": D(5000)} and sells == {"Health": D(3500), "Banks": D(1500)}


def test_a_class_that_rests_is_neither_sold_nor_bought():
    held = household(Energy=(0.20, 0.10, 0.02), Health=(0.30, 0.40, 0.05), Banks=(0.50, 0.50, 0.05))
    assert trade_back(held, "half", resting={"Energy", "Health"}) == ({}, {})
    assert trade_back(held, "half", resting={"Energy"})[1] == {}, "and nothing else is above its target"


def test_where_the_furthest_above_cannot_be_sold_the_next_is():
    held = household(Energy=(0.30, 0.20, 0.15), Health=(0.48, 0.40, 0.10), Banks=(0.22, 0.40, 0.08))
    assert trade_back(held, "edge")[0] == {"Energy": D(6000), "Health": D(4000)}
    sells, buys = trade_back(held, "edge", sellable_usd={"Energy": D(1500), "Health": D(48_000)})
    assert sells == {"Energy": D(1500), "Health": D(8000)} and buys == {"Banks": D(9500)}, "to its target, no further"
    sells, _ = trade_back(
        household(Energy=(0.30, 0.20, 0.05), Banks=(0.70, 0.80, 0.1)), "target", sellable_usd={"Energy": D(99)}
    )
    assert sells == {"Energy": D(99)}


def test_what_stays_in_cash_is_what_cash_is_short_of():
    held = household(Energy=(0.30, 0.20, 0.04), Health=(0.70, 0.70, 0.05), Cash=(0.0, 0.10, 0.05))
    assert trade_back(held, "target") == ({"Energy": D(10_000)}, {"Cash": D(10_000)})


weights = st.lists(st.integers(1, 100), min_size=3, max_size=7)


@st.composite
def strayed(draw) -> dict[str, Held]:
    targets = draw(weights)
    values = draw(st.lists(st.integers(0, 10_000_000), min_size=len(targets), max_size=len(targets)))
    bands = draw(st.lists(st.floats(0.005, 0.2), min_size=len(targets), max_size=len(targets)))
    names = [*"ABCDEFG"[: len(targets) - 1], CASH]
    whole = sum(targets)
    return {
        name: Held(D(value).scaleb(-2), round(target / whole, 6), band)
        for name, value, target, band in zip(names, values, targets, bands, strict=True)
    }


@given(strayed(), st.sampled_from(["target", "half", "edge"]), st.sampled_from([D(0), D("0.02")]))
def test_after_trading_back_no_class_that_was_traded_is_outside_its_band(held, how, cushion):
    sells, buys = trade_back(held, how, cushion)
    total = sum(one.value_usd for one in held.values())
    slack = 0.03 / float(total) if total else 0

    def distance(name: str, *, after: bool) -> float:
        moved = (buys.get(name, 0) - sells.get(name, 0)) if after else 0
        return float((held[name].value_usd + moved) / total) - held[name].target_weight

    nothing_left = total and all(distance(name, after=True) <= 2 * slack for name in held if name != CASH)
    for name in sells.keys() | buys.keys() - {CASH}:
        before, after = distance(name, after=False), distance(name, after=True)
        assert abs(after) <= held[name].band + slack or (name in buys and nothing_left), "only for want of money"
        assert abs(after) <= abs(before) + slack, "nothing gets further away"
        assert after * before >= -slack, "nothing crosses its target"


@given(strayed(), st.sampled_from(["target", "half", "edge"]), st.sampled_from([D(0), D("0.02")]))
def test_purchases_are_paid_for_by_sales_less_the_cushion_to_the_cent(held, how, cushion):
    sells, buys = trade_back(held, how, cushion)
    assert sum(buys.values()) <= sum(sells.values()) * (1 - cushion) + D("0.06")
    assert not sells.keys() & buys.keys()
    assert all(0 < usd <= held[name].value_usd for name, usd in sells.items())
    assert all(usd == usd.quantize(CENT) for usd in (*sells.values(), *buys.values()))


def test_drift_costs_half_the_risk_aversion_times_tracking_variance():
    covariance = np.array([[0.04, 0.006], [0.006, 0.01]])
    found = drift_cost({"A": 0.1, "B": -0.1}, ["A", "B"], covariance, 4.0, 2.0)
    assert found == pytest.approx(4 / 2 * 2 * 0.01 * (0.04 + 0.01 - 2 * 0.006))


# Cash -------------------------------------------------------------------------------------------------

amounts = st.dictionaries(
    st.sampled_from("ABCDEF"), st.integers(-500, 100_000).map(lambda n: D(n).scaleb(-2)), max_size=6
)


@given(amounts, st.integers(0, 300_000).map(lambda n: D(n).scaleb(-2)))
def test_money_is_spent_to_the_cent_or_every_gap_is_filled_and_the_gaps_left_are_level(gaps, amount):
    spent = levelled(gaps, amount)
    room = sum((gap for gap in gaps.values() if gap > 0), D(0))
    assert sum(spent.values()) == min(amount, room)
    assert all(0 < usd <= gaps[name] for name, usd in spent.items())
    left = {name: gaps[name] - spent.get(name, 0) for name in gaps if gaps[name] > 0}
    if spent:
        assert max(left.values()) - min(left[name] for name in spent) <= CENT, "nothing larger was left behind"


@given(amounts, amounts, st.integers(0, 300_000).map(lambda n: D(n).scaleb(-2)))
def test_where_a_gap_can_take_only_so_much_the_others_are_levelled_and_no_more_money_is_left(gaps, most, amount):
    spent = levelled(gaps, amount, most)
    room = {name: max(D(0), min(gap, most.get(name, gap))) for name, gap in gaps.items()}
    assert sum(spent.values()) == min(amount, sum(room.values()))
    assert all(0 < usd <= room[name] for name, usd in spent.items())
    left = {name: gaps[name] - spent.get(name, 0) for name, can in room.items() if spent.get(name, 0) < can}
    if spent and left:
        assert max(left.values()) - min(gaps[name] - spent[name] for name in spent) <= CENT


@given(
    amounts,
    st.integers(0, 300_000).map(lambda n: D(n).scaleb(-2)),
    st.integers(1, 30_000).map(lambda n: D(n).scaleb(-2)),
)
def test_money_goes_in_parts_that_are_worth_an_order_and_stays_only_where_there_is_no_such_part(gaps, amount, least):
    spent = in_trades(gaps, amount, gaps, dict.fromkeys(gaps, least))
    assert all(least <= usd <= gaps[name] for name, usd in spent.items()) and sum(spent.values()) <= amount
    assert spent or amount < least or all(gap < least for gap in gaps.values())
    assert sum(spent.values()) == min(amount, sum(gaps[name] for name in spent)), (
        "of what is bought, all that it can take"
    )


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers(-1000, 100_000).map(lambda n: D(n).scaleb(-2)), min_size=1),
    st.dictionaries(st.sampled_from("abc"), st.integers(0, 50_000).map(lambda n: D(n).scaleb(-2))),
    st.integers(0, 30_000).map(lambda n: D(n).scaleb(-2)), st.integers(0, 200_000).map(lambda n: D(n).scaleb(-2)),
)  # fmt: skip
def test_spare_cash_leaves_what_is_kept_what_is_due_and_the_households_target(cash, leaves, keep, target):
    free = spare(cash, leaves, keep, target)
    assert all(0 < usd <= cash[name] - keep - leaves.get(name, 0) for name, usd in free.items())
    if free:
        stays = sum(max(D(0), usd - leaves.get(name, 0)) for name, usd in cash.items())
        assert stays - sum(free.values()) >= target - CENT, "what is due is no part of the target"


def test_a_withdrawal_is_raised_in_its_lead_and_not_before_nor_after():
    planned = [Withdrawal("ira", date(2026, 3, 20), D(5000))]
    found = [due(planned, date(2026, 3, day), date(2026, 3, day + 7)) for day in (12, 13, 20, 21)]
    assert found == [{}, {"ira": D(5000)}, {"ira": D(5000)}, {}]
    assert missing({"ira": D(4500)}, found[1]) == {"ira": D(500)} and missing({"ira": D(5000)}, found[1]) == {}


def test_cash_that_lies_elsewhere_is_a_part_of_what_the_household_wants_in_cash():
    cash = {"joint": D(5000)}
    assert spare(cash, {}, D(0), D(5000)) == {}
    assert spare(cash, {}, D(0), D(5000), D(5000)) == cash and spare(cash, {}, D(0), D(5000), D(3000)) == {
        "joint": D(3000)
    }


def test_what_was_withdrawn_early_or_late_is_not_raised_again_and_counts_once():
    weekly = [Withdrawal("ira", date(2026, 3, day), D(100)) for day in (2, 9, 16)]
    made = [Withdrawal("ira", date(2026, 3, 2), D(100)), Withdrawal("ira", date(2026, 3, 10), D(60))]
    left = {one.on.day: one.amount_usd for one in unmade(weekly, made, 7)}
    assert left == {9: D(40), 16: D(100)}, "that of the 2nd is made, of the 9th 60 a day late"
    other = [Withdrawal("joint", date(2026, 3, 2), D(100)), Withdrawal("ira", date(2026, 2, 22), D(100))]
    assert unmade(weekly, other, 7) == weekly, "another account, and more than the lead before"


# Volatility -------------------------------------------------------------------------------------------


def test_a_band_is_tight_for_a_quiet_class_wide_for_a_wild_one_and_never_beyond_its_limits():
    targets = {"Stocks": 0.5, "Bonds": 0.5}
    moves = {"Stocks": 0.15, "Bonds": 0.05, "Crypto": 0.9, "Bills": 0.0}
    found = scales(moves, moves, targets, 0.4, 1.8)
    assert found == {"Stocks": 1.5, "Bonds": 0.5, "Crypto": 1.8, "Bills": 0.4}
    assert half_width(0.5, 0.05, 1.0, scale=found["Bonds"]) == 0.025


def test_equal_volatility_changes_no_band():
    moves = {"A": 0.2, "B": 0.2}
    assert set(scales(moves, moves, {"A": 0.7, "B": 0.3}, 0.5, 2.0).values()) == {1.0}


def test_bands_widen_when_everything_moves_more_than_usual_and_tighten_when_nothing_does():
    usual, targets = {"A": 0.2, "B": 0.1}, {"A": 0.5, "B": 0.5}
    wild = scales({"A": 0.27, "B": 0.12}, usual, targets, 0.5, 2.0)
    quiet = scales({"A": 0.15, "B": 0.09}, usual, targets, 0.5, 2.0)
    assert wild == pytest.approx({"A": 1.8, "B": 0.8}) and quiet == pytest.approx({"A": 1.0, "B": 0.6})
    moves = np.concatenate([np.tile([0.01, -0.01], 100), np.tile([0.02, -0.02], 100)])
    assert np.abs(recent({"A": moves})["A"]).tolist() == [0.02] * 63, "a quarter"


def test_volatility_and_covariance_are_those_of_the_classes_as_they_are_held():
    rng = np.random.default_rng(5)
    returns = {name: rng.normal(0, 0.01, 300) for name in ("VTI", "VXUS", "BND")}
    of = {"VTI": "Stocks", "VXUS": "Stocks", "BND": "Bonds"}
    classes = class_returns(returns, {"VTI": 30.0, "VXUS": 10.0, "BND": 5.0}, of)
    stocks = 0.75 * returns["VTI"] + 0.25 * returns["VXUS"]
    assert classes["Stocks"] == pytest.approx(stocks)
    assert volatilities(classes)["Stocks"] == pytest.approx(np.std(stocks, ddof=1) * np.sqrt(252))
    names, spread = covariance(classes)
    assert names == ["Bonds", "Stocks"] and spread[1, 1] == pytest.approx(np.var(stocks, ddof=1) * 252)


# Drift ------------------------------------------------------------------------------------------------


def test_drift_has_each_class_with_a_band_of_its_own_and_what_is_locked():
    import polars as pl

    held = pl.DataFrame(
        {"asset_class": ["Energy", "Energy", "GLD", CASH], "value_usd": [10, 20, 30, 40], "locked_usd": [10, 0, 0, 0]}
    )
    bands = {"Energy": 0.02}
    found = drift(
        held, {"Energy": 0.28, "GLD": 0.3, "Bonds": 0.42}, lambda name, _: bands.get(name, 0.05), {"Energy": "why"}
    )
    rows = {row["asset_class"]: row for row in found.iter_rows(named=True)}
    assert rows["Energy"]["locked_usd"] == 10 and rows["Energy"]["locked"] == "why"
    assert rows["Energy"]["drift"] == pytest.approx(0.02) and not rows["Energy"]["is_outside"]
    owing = drift(
        pl.DataFrame({"asset_class": ["Energy", CASH], "value_usd": [5, -9], "locked_usd": [0, 0]}), {}, lambda *_: 0.05
    )
    assert set(owing["weight"]) == {0.0}, "not Energy at -125 %"
    assert rows["Bonds"]["drift"] == -0.42 and rows["Bonds"]["is_outside"] and rows["GLD"]["drift"] == 0
