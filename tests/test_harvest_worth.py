"""Which losses are worth taking: what they are expected to bring, what the year needs, and what deferral is worth."""

import math
import re
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from conftest import House
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.accounts import Household
from flows.day import day_of
from flows.policy import Harvest
from flows.pre_trade import known
from flows.propose import gather
from transforms.harvest.benefit import Rates, tax_on, unused
from transforms.harvest.candidates import OpenLot, holdings
from transforms.harvest.chances import chances
from transforms.harvest.deferral import carried_saving, deferral, kept
from transforms.harvest.need import needed_usd
from transforms.harvest.replacement import Replacement
from transforms.harvest.scan import Proposal, Scan, Thresholds, proposals
from transforms.harvest.worth import Economics, Loss, Outlook, Worth, is_worth_a_look, worth
from transforms.law import TaxYear, tax_year
from transforms.lots.check import Limits, Year, effects
from transforms.lots.in_part import Young
from transforms.lots.rules import Rules
from transforms.model import Trade
from transforms.tables import core
from transforms.tax.schedule_d import Carried, carried_into, schedule_d
from warehouse.db import reader
from warehouse.law import law_rows

D = Decimal
RATES = Rates(D("0.29"), D("0.20"), D("0.29"), D(3000))
GAINS = Year(RATES, D(50_000), D(0))  # short-term gains that any loss here meets
ON = date(2022, 6, 1)


# Deferral ---------------------------------------------------------------------------------------------


def test_the_published_case_of_deferral_comes_out_exactly():
    """Cost 20,000, value 14,000: 900 at 15 % is put off; a year at 8 % is worth 72, half a percent of the shares."""
    found = deferral(D(20000), D(14000), D("0.15"), D("0.08"), 1)
    assert (found.loss_usd, found.deferred_usd, found.owed_back_usd) == (6000, 900, 900)
    assert found.growth_usd == 72 and found.value_rate.quantize(D("0.0001")) == D("0.0051")


def test_no_time_and_no_difference_of_rates_keep_nothing():
    assert deferral(D(20000), D(14000), D("0.15"), D("0.08"), 0).growth_usd == 0
    assert kept(900, 900, 0.08, 0.15, 0) == 0 and kept(900, 900, 0.0, 0.15, 10) == 0


@given(st.floats(0, 1e6), st.floats(0.001, 0.2), st.floats(0, 0.5), st.integers(1, 40))
def test_deferral_keeps_less_than_the_tax_and_more_the_longer_it_lasts(saved, growth, tax, years):
    assert 0 <= kept(saved, saved, growth, tax, years) <= saved
    assert kept(saved, saved, growth, tax, years) <= kept(saved, saved, growth, tax, years + 1) + 1e-6


@given(st.integers(0, 200_000), st.integers(0, 50_000))
def test_what_is_carried_over_is_worth_at_most_its_tax_and_less_the_longer_the_queue(queue, loss):
    first, later = (carried_saving(D(at), D(at + loss), RATES, 0.20, 0.05, 10) for at in (queue, queue + 3000))
    assert 0 <= later <= first + 1e-6 <= loss * 0.29 + 1e-5


@given(st.integers(1, 50_000), st.integers(0, 2), st.floats(0, 0.2))
def test_a_loss_that_no_year_uses_before_it_is_given_back_keeps_nothing_and_costs_nothing(loss, away, growth):
    """Behind a queue of forty years it only meets its own gain, at the same rate, whenever it was taken."""
    found = carried_saving(D(120_000), D(120_000 + loss), RATES, 0.20, growth, 10, away) + kept(
        0, loss * 0.2, growth, 0.2, 10
    )
    assert found == pytest.approx(0, abs=1e-6)


def test_what_saves_a_tax_a_year_later_saves_all_that_comes_after_it_a_year_later_too():
    """7,000 next year at no growth: 3,000 in it, 3,000 and 1,000 in the two after; ten years from now is still ten years from now."""
    assert carried_saving(D(0), D(4_000), RATES, 0.20, 0.05, 2, away=1) == pytest.approx(
        kept(870, 0, 0.05, 0.2, 2, 2) + kept(200, 0, 0.05, 0.2, 2, 2)
    )


# Chances ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "basis", "drift"), [(98, 100, 0.0), (80, 100, 0.1), (105, 100, -0.2)])
def test_the_closed_forms_are_the_integrals(value, basis, drift):
    volatility, years = 0.3, 0.25
    z = np.linspace(-10, 10, 400_001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    price = value * np.exp((drift - volatility**2 / 2) * years + volatility * math.sqrt(years) * z)
    step = z[1] - z[0]
    found = chances(value, basis, volatility, years, drift)
    assert found.still_there == pytest.approx((density * (price < basis)).sum() * step, abs=1e-4)
    assert found.expected_loss == pytest.approx((density * np.maximum(basis - price, 0)).sum() * step, abs=1e-4)


def test_without_volatility_or_time_nothing_changes():
    assert chances(80, 100, 0.0, 1.0) == chances(80, 100, 0.3, 0.0) == (1.0, 20.0)
    with pytest.raises(ValueError, match="must be above zero"):
        chances(0, 100, 0.3, 1.0)


@given(st.floats(1, 1000), st.floats(1, 1000), st.floats(0.01, 2), st.floats(0.01, 2))
def test_chances_are_chances_and_a_loss_that_waits_is_expected_to_be_larger(value, basis, volatility, years):
    found = chances(value, basis, volatility, years)
    assert 0 <= found.still_there <= 1
    assert found.expected_loss >= max(0, basis - value) - 1e-6


# Worth ------------------------------------------------------------------------------------------------


def economics(by: str = "benefit", **more: object) -> Economics:
    names = ("XYZ", "ABC", "QRS", "TUV")
    return Economics(by, Outlook(**more), dict.fromkeys(names, 0.3), dict.fromkeys(names, 0.2), D(500_000))  # type: ignore[arg-type]


def weighed(value: int, loss: int, year: Year = GAINS, on: date = ON, *, turning: int = 0, **more: object) -> Worth:
    return worth(Loss("XYZ", D(value), D(loss), D(0), D(turning)), year, on, economics(**more))


def test_a_deep_loss_is_taken_and_a_shallow_one_is_left_alone():
    assert weighed(14_000, 6_000).ahead_usd > 25
    assert weighed(19_700, 300).ahead_usd < 0


def test_a_loss_that_turns_long_within_the_wait_is_worth_taking_while_it_is_short():
    """A long-term loss meets long-term gains first: 9 % of it is lost where there are gains of both terms, else nothing."""

    def difference(short: int, long: int) -> float:
        year = Year(RATES, D(short), D(long))
        turning, stays = weighed(14_000, 6_000, year, turning=6_000), weighed(14_000, 6_000, year)
        assert turning.now_usd == stays.now_usd
        return turning.ahead_usd - stays.ahead_usd

    tax_on_growth = 1 - 0.20 * (1 - 1.05**-10)
    assert difference(6_000, 6_000) == pytest.approx(0.09 * 6_000 * tax_on_growth, rel=0.01)
    assert difference(50_000, 0) == difference(0, 50_000) == 0


def test_beyond_the_years_need_a_loss_is_worth_its_deferral_only():
    """50,000 are carried over already: 3,000 a year use them up for longer than the loss is put off."""
    used_up = Year(RATES, D(-50_000), D(0))
    assert weighed(14_000, 6_000).now_usd > 800
    assert weighed(14_000, 6_000, used_up).now_usd < 0, "it is given back before it was of use, and costs a trade"


def test_a_wait_over_the_end_of_the_year_loses_the_gains_of_this_one():
    june, december = weighed(14_000, 6_000), weighed(14_000, 6_000, on=date(2022, 12, 15))
    assert december.now_usd == june.now_usd and december.wait_usd < june.wait_usd - 90
    assert december.ahead_usd > june.ahead_usd + 90


def test_what_is_never_taxed_again_is_worth_the_whole_saving():
    keeps = weighed(14_000, 6_000, never_taxed=1.0, growth_rate=0.0, cost_rate=0.0, risk_aversion=0.0)
    assert keeps.now_usd == pytest.approx(6_000 * 0.29)


def test_costs_come_from_spread_and_from_the_risk_of_the_swap():
    """Two trades of 14,000 at 5 basis points, and 1.5 x 2.8 % x 20 %² of it."""
    assert weighed(14_000, 6_000).cost_usd == pytest.approx(14 + 14_000 * 1.5 * 0.028 * 0.04)
    assert weighed(14_000, 6_000, cost_rate=0.0, risk_aversion=0.0).cost_usd == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(1_000, 50_000), st.integers(1, 20_000), st.integers(-20_000, 20_000), st.integers(-20_000, 20_000))
def test_without_costs_taking_a_loss_is_never_behind_waiting_in_one_year(value, loss, short, long):
    """The new basis is as good a bet as the old one; only rates that change with the year's results can make waiting better."""
    flat = Rates(D("0.2"), D("0.2"), D("0.2"), D(10**9))  # no limit, one rate: nothing but time and chance
    found = weighed(value, loss, Year(flat, D(short), D(long)), cost_rate=0.0, risk_aversion=0.0)
    assert found.ahead_usd >= -1e-6 * value


# Through the scan -------------------------------------------------------------------------------------


def scan_of(
    lots: dict[str, tuple[str, int, date]], year: Year, asked: Economics | None, *, any_lot: bool = True
) -> Scan:
    """Lots of 100 shares by name: security, basis and day of purchase; everything may be replaced by its own twin."""
    made, events = [], []
    for name, (security, basis, bought_on) in lots.items():
        turns_on = bought_on.replace(year=bought_on.year + 1) + timedelta(days=1)
        made.append(OpenLot("joint", security, bought_on, name, 1, D(100), D(basis), turns_on))
        events.append(Trade(name, "joint", security, True, 100 * 10**9, basis * 100, bought_on, None, False))
    alike = {security: [Replacement(f"{security}-2", 0.9, 1.0)] for security, *_ in lots.values()}
    return Scan(
        on=ON, holdings=holdings(made), reaches_any_lot={"joint": any_lot}, averaged=(),
        thresholds=Thresholds(D(0), D(0)) if asked and asked.by == "benefit" else Thresholds(D(1000), D("0.05")),
        effects=lambda proposed: effects(events, proposed, [], Rules(), year), limits=Limits(5000, D("0.02"), 5000), year=year,
        unsafe=[], unlinked=[], identical={}, alike=alike, barred=(), young=Young([], {}), do_not_trade=(),
        no_replacement="nothing", economics=asked,
    )  # fmt: skip


def found(scan: Scan, prices: dict[str, int]) -> dict[str, Proposal]:
    twins = {f"{name}-2": D(100) for name in prices}
    return {
        one.candidate.security_id: one
        for one in proposals(scan, {name: D(usd) for name, usd in prices.items()} | twins)
    }


OLD, NEW = date(2021, 3, 1), date(2022, 1, 10)


def test_by_need_losses_are_taken_short_term_first_until_the_year_can_use_no_more():
    """Gains of 4,000 and the limit of 3,000: 5,000 of short-term loss comes first, 3,000 of long-term meets the rest."""
    lots = {"A": ("XYZ", 13_000, OLD), "B": ("ABC", 15_000, NEW), "C": ("QRS", 12_000, OLD)}
    said = found(
        scan_of(lots, Year(RATES, D(4_000), D(0)), economics("need")), dict.fromkeys(("XYZ", "ABC", "QRS"), 100)
    )
    assert said["ABC"].reason.endswith("the year needs $7,000.00 of losses, it meets $5,000.00")
    assert said["XYZ"].reason.endswith("the year needs $2,000.00 of losses, it meets $2,000.00")
    assert said["XYZ"].left_usd == 1_000
    assert said["QRS"].candidate.refusal.startswith("the year needs no more losses")
    assert said["QRS"].saved_usd == 0


def test_by_thresholds_nothing_is_weighed():
    lots = {"A": ("XYZ", 13_000, OLD)}
    one = found(scan_of(lots, Year(RATES, D(-90_000), D(0)), None), {"XYZ": 100})["XYZ"]
    assert not one.candidate.refusal and one.verdict is None


def test_by_benefit_a_small_loss_on_a_large_holding_is_left_out_of_the_harvest_that_its_neighbour_makes():
    lots = {"A": ("XYZ", 14_000, OLD), "B": ("XYZ", 10_100, OLD)}
    one = found(scan_of(lots, GAINS, economics()), {"XYZ": 100})["XYZ"]
    assert [name for name, _ in one.candidate.lots] == ["A"] and "taken now it keeps" in one.reason


def test_by_benefit_each_loss_meets_what_those_before_it_leave():
    lots = {"A": ("XYZ", 19_000, NEW), "B": ("ABC", 13_000, OLD)}
    gains = Year(RATES, D(6_000), D(0))
    both = found(scan_of(lots, gains, economics()), {"XYZ": 100, "ABC": 100})
    alone = found(scan_of({"B": lots["B"]}, gains, economics()), {"ABC": 100})
    now = [float(re.search(r"keeps \$([\d.]+)", one["ABC"].reason)[1]) for one in (both, alone)]  # type: ignore[index]
    assert both["ABC"].saved_usd == 0 and alone["ABC"].saved_usd == 870
    assert 0 < now[0] < now[1], "carried into next year, and not met by this one"


def test_by_benefit_a_large_loss_that_is_not_worth_its_cost_is_refused_with_its_figures():
    lots = {"A": ("XYZ", 16_000, OLD), "B": ("ABC", 10_300, OLD)}
    said = found(scan_of(lots, Year(RATES, D(-60_000), D(0)), economics()), {"XYZ": 100, "ABC": 100})
    assert list(said) == ["XYZ"], "3 % and $300 would not be listed by the thresholds either"
    assert said["XYZ"].candidate.refusal.startswith("a loss of $6,000.00 is not worth its cost: taken now it keeps $-")


def test_of_two_losses_that_could_only_replace_each_other_the_larger_is_taken_and_becomes_the_lesser():
    lots = {"A": ("XYZ", 14_000, OLD), "B": ("ABC", 13_000, OLD)}
    each_other = {"XYZ": [Replacement("ABC", 0.9, 1.0)], "ABC": [Replacement("XYZ", 0.9, 1.0)]}
    for asked in (economics(), economics("need")):
        said = found(scan_of(lots, GAINS, asked)._replace(alike=each_other), {"XYZ": 100, "ABC": 100})
        assert said["XYZ"].instead.security_id == "ABC" and not said["XYZ"].candidate.refusal
        assert said["ABC"].candidate.refusal == "nothing"


def test_a_loss_that_is_not_taken_is_free_to_replace_one_that_is():
    lots = {"A": ("XYZ", 19_000, OLD), "B": ("ABC", 13_000, OLD)}
    scan = scan_of(lots, Year(RATES, D(2_000), D(0)), economics("need"))
    said = found(
        scan._replace(alike={"XYZ": [Replacement("ABC", 0.9, 1.0)], "ABC": [Replacement("QRS", 0.9, 1.0)]}),
        dict.fromkeys(("XYZ", "ABC", "QRS"), 100),
    )
    assert said["ABC"].candidate.refusal.startswith("the year needs no more")
    assert said["XYZ"].instead.security_id == "ABC"


def test_by_benefit_a_residue_worth_less_than_a_cent_is_refused_in_words():
    dust = OpenLot("joint", "XYZ", OLD, "A", 1, D("0.00004"), D("0.02"), date(2022, 3, 2))
    scan = scan_of({}, GAINS, economics())._replace(holdings=holdings([dust]), reaches_any_lot={"joint": True})
    assert found(scan, {"XYZ": 100})["XYZ"].reason.startswith("it is worth less than a cent")


def test_of_a_lot_in_two_slices_the_loss_that_is_long_term_is_that_of_its_slice():
    """A wash sale left one half of the lot with the whole loss of 600. At 29 % short-term it is worth its cost of 160, at 0 % not."""
    year = Year(Rates(D("0.29"), D(0), D(0), D(0)), D(50_000), D(50_000))
    asked = economics(later_rate=D(0), cost_rate=0.008, risk_aversion=0.0)._replace(volatility={"XYZ": 0.01})
    turned, turns_soon = date(2022, 3, 2), date(2022, 6, 20)

    def of(plain_from: date, washed_from: date) -> bool:
        plain = OpenLot("joint", "XYZ", OLD, "A", 1, D(50), D(5_000), plain_from)
        washed = OpenLot("joint", "XYZ", OLD, "A", 2, D(50), D(5_600), washed_from)
        return is_worth_a_look([plain, washed], D(10_000), D(600), year, ON, asked)

    assert of(turned, turns_soon) and not of(turns_soon, turned)


def test_by_benefit_less_than_the_margin_is_left_alone():
    lots = {"A": ("XYZ", 14_000, OLD)}
    ahead = found(scan_of(lots, GAINS, economics()), {"XYZ": 100})["XYZ"].verdict.ahead_usd
    asked = economics(margin_usd=ahead + D("0.01"))
    assert "is better left alone" in found(scan_of(lots, GAINS, asked), {"XYZ": 100})["XYZ"].candidate.refusal


def test_a_security_of_which_no_volatility_is_known_is_not_weighed_and_that_is_said():
    lots = {"A": ("NEW", 14_000, OLD)}
    assert found(scan_of(lots, GAINS, economics()), {"NEW": 100})["NEW"].candidate.refusal.startswith(
        "nothing tells how it moves"
    )


def test_a_loss_five_days_before_it_turns_long_term_says_what_it_saves_now_and_then():
    """4,000 against a short-term gain: 1,160 now, 800 from Monday on; and the column has the day."""
    bought_on = ON + timedelta(days=4) - timedelta(days=365)
    one = found(scan_of({"A": ("XYZ", 14_000, bought_on)}, Year(RATES, D(4_000), D(10_000)), None), {"XYZ": 100})["XYZ"]
    assert one.candidate.turns_long_on == ON + timedelta(days=5)
    assert (
        "$4,000.00 of it is short-term and turns long-term from 2022-06-06 on: as it stands it saves $1,160.00, then $800.00"
        in one.reason
    )
    later = found(scan_of({"A": ("XYZ", 14_000, NEW)}, Year(RATES, D(4_000), D(10_000)), None), {"XYZ": 100})["XYZ"]
    assert "turns long-term" not in later.reason


def test_a_gain_five_days_before_it_turns_long_term_is_not_sold_to_reach_a_loss_behind_it():
    bought_on = ON + timedelta(days=4) - timedelta(days=365)
    lots = {"A": ("XYZ", 9_000, bought_on), "B": ("XYZ", 14_000, NEW)}
    for asked in (None, economics(), economics("need")):
        one = found(scan_of(lots, GAINS, asked, any_lot=False), {"XYZ": 100})["XYZ"]
        assert "first in, first out and would take lot A" in one.candidate.refusal


# Need and carryover -----------------------------------------------------------------------------------

usd = st.integers(-30_000, 30_000).map(D)


@given(usd, usd, st.integers(0, 60_000).map(D))
def test_a_loss_up_to_the_need_is_used_this_year_and_not_a_dollar_beyond_it(short, long, loss):
    need = needed_usd(short, long, RATES)
    used = min(loss, need)
    assert unused(short - used, long, RATES) == unused(short, long, RATES)
    assert unused(short - loss, long, RATES) - unused(short, long, RATES) == loss - used
    if loss > need:
        assert tax_on(short - loss, long, RATES) == tax_on(short - used, long, RATES)


def law(year: int) -> TaxYear:
    return tax_year(law_rows(), year, "mfj")


def test_what_a_household_states_of_an_earlier_return_is_where_schedule_d_begins():
    form = schedule_d(core("reported_sales", []), law, D(210_000), Carried(2022, D(5_000), D(1_000)))
    lines = dict(form.select("line", "amount_usd").iter_rows())
    assert (lines["6"], lines["14"], lines["21"]) == (-5_000, -1_000, -3_000)
    assert (lines["carryover_short"], lines["carryover_long"]) == (-2_000, -1_000)
    assert carried_into(2023, {}, law, D(210_000), Carried(2022, D(5_000), D(1_000))) == (2_000, 1_000)
    assert carried_into(2022, {2021: (D(-90_000), D(0))}, law, D(210_000), Carried(2022, D(5_000), D(1_000))) == (
        5_000,
        1_000,
    )


def test_a_carryover_without_its_year_is_refused():
    with pytest.raises(ValueError, match="carryover_into is missing"):
        Household(name="x", filing_status="mfj", taxable_income_usd=D(1), linked=True, carryover_short_usd=D(1))
    assert Harvest().by == "thresholds"


# On the demo household --------------------------------------------------------------------------------


def tomorrow(house: House) -> tuple[Year, list[Proposal]]:
    """The year as the day after the booked one sees it, and the harvests that it would propose."""
    with reader(house.folder / "snapshot.duckdb") as warehouse:
        day = day_of(house.settings(), date(2022, 10, 13), datetime(2022, 10, 14))
        seen = known(warehouse, day, date(2022, 10, 14))
        prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
        return seen.year, proposals(gather(warehouse, day, seen), prices)


def harvested(house: House) -> dict[tuple[str, str], Proposal]:
    made = [one for one in tomorrow(house)[1] if not one.candidate.refusal]
    return {(one.candidate.account_id, one.candidate.security_id): one for one in made}


def test_the_carryover_and_planned_gains_of_the_policy_are_a_part_of_the_year(day_before):
    before, _ = tomorrow(day_before)
    stated = "carryover_into = 2022\ncarryover_short_usd = 4000\ncarryover_long_usd = 500\nplanned_long_gain_usd = 9000"
    day_before.edit("portfolio.toml", "state_rate = 0.05", f"state_rate = 0.05\n{stated}")
    after, _ = tomorrow(day_before)
    assert (after.short_usd - before.short_usd, after.long_usd - before.long_usd) == (-4_000, 8_500)


def test_the_demo_household_by_need_and_by_benefit_takes_a_part_of_what_the_thresholds_let_pass(day_before):
    usual = harvested(day_before)
    day_before.edit("portfolio.toml", "min_loss_usd = 1000", 'by = "need"\nmin_loss_usd = 1000')
    needed = harvested(day_before)
    assert set(needed) < set(usual) and len(needed) >= 1
    assert sum(one.saved_usd for one in needed.values()) == sum(one.saved_usd for one in usual.values())
    day_before.edit("portfolio.toml", 'by = "need"', 'by = "benefit"')
    weighed_ones = harvested(day_before)
    assert weighed_ones and all(one.verdict.ahead_usd >= 25 for one in weighed_ones.values())
