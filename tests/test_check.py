"""The pre-trade check: what a batch would wash, lose for good and cost, measured in dollars; by arithmetic done by hand."""

from datetime import date, timedelta
from decimal import Decimal
from itertools import count

import pytest

from transforms.harvest.benefit import Rates
from transforms.lots.book import book
from transforms.lots.check import Effect, Limits, Year, beyond, effects, within
from transforms.lots.coming import Plan, coming, days
from transforms.lots.rules import Rules
from transforms.lots.tiers import merged
from transforms.model import RULES, Trade

SALE_ON = date(2025, 6, 16)
YEAR = Year(Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000)), Decimal(20_000), Decimal(0))
LIMITS = Limits(5_000, Decimal("0.02"), 5_000)
IRAS = {"ira", "roth-spouse"}
_number = count(1)


def buy(shares: str, usd: str, on: date, security: str = "XYZ", account: str = "joint", name: str = "") -> Trade:
    return _trade(True, shares, usd, on, security, account, name)


def sell(shares: str, usd: str, on: date = SALE_ON, security: str = "XYZ", account: str = "joint", name: str = ""):
    return _trade(False, shares, usd, on, security, account, name)


def _trade(is_buy: bool, shares: str, usd: str, on: date, security: str, account: str, name: str) -> Trade:
    nano, cents = int(Decimal(shares) * 10**9), int(Decimal(usd) * 100)
    return Trade(name or f"T-{next(_number)}", account, security, is_buy, nano, cents, on, None, account in IRAS)


def around(day: int) -> date:
    return SALE_ON + timedelta(days=day)


HELD = buy("100", "20000", date(2024, 11, 4), name="held")
HARVEST = sell("100", "10000", name="harvest")  # $10,000 of loss, short-term


def harvest(*events: Trade, known: tuple[Trade, ...] = (), **given) -> Effect:
    return effects([HELD, *events], [HARVEST], known, Rules(), YEAR, **given)["harvest"]


# In dollars, against a limit --------------------------------------------------------------------------


def test_a_reinvested_third_of_a_share_does_not_veto_a_harvest_of_10_000_dollars():
    for account, kept in (("joint", "saved later instead of now"), ("ira", "lost")):
        found = harvest(buy("0.333333333", "33.33", around(-5), account=account))
        assert found.disallowed == 3333
        assert beyond(found, LIMITS) == ""
        assert f"$33.33 of loss would be disallowed{', $33.33 of it for good' * (account == 'ira')}" in within(found)
        assert f"$9.67 of tax {kept}" in within(found) and "the limits let it pass" in within(found)


def test_a_purchase_in_an_ira_that_loses_10_000_dollars_for_good_does():
    found = harvest(buy("100", "10100", around(12), account="roth-spouse", name="R-1"))
    said = beyond(found, LIMITS)
    assert (found.disallowed, found.permanent, found.short_gain) == (1_000_000, 1_000_000, 0)
    assert said.startswith(
        "$10,000.00 of loss would be disallowed, $10,000.00 of it for good ($2,900.00 of tax lost): "
    )
    assert "roth-spouse bought 100 XYZ on 2025-06-28, 12 days after (26 USC 1091(a); Rev. Rul. 2008-5)" in said
    assert said.endswith("; the limit is $200.00 and at most $50.00 may be lost for good")


@pytest.mark.parametrize(
    ("shares", "account", "passes"),
    [("2", "joint", True), ("2.0001", "joint", False), ("0.5", "ira", True), ("0.5001", "ira", False)],
)
def test_what_is_at_a_limit_passes_and_a_cent_more_does_not(shares, account, passes):
    assert (beyond(harvest(buy(shares, "100", around(-1), account=account)), LIMITS) == "") is passes


def test_a_small_loss_is_measured_in_dollars_and_a_large_one_by_its_part():
    washed = harvest(buy("1", "100", around(-1)))  # $100 of it
    assert beyond(washed, Limits(10_000, Decimal(0), 0)) == ""
    assert beyond(washed, Limits(0, Decimal("0.01"), 0)) == ""
    assert beyond(washed, Limits(9_999, Decimal("0.0099"), 0)).endswith("the limit is $99.99")


def test_the_loss_of_a_sale_is_that_of_its_losing_lots_and_a_gain_beside_it_is_none():
    gain = buy("100", "5000", date(2024, 1, 3))
    sale = sell("200", "20000", name="both")  # $5,000 gained, $10,000 lost
    found = effects([HELD, gain], [sale], [], Rules(), YEAR)["both"]
    assert (found.short_gain, found.long_gain, found.loss) == (-1_000_000, 500_000, 1_000_000)


# The window -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "is_washed"), [(-31, False), (-30, True), (-1, True), (0, True), (30, True), (31, False)]
)
@pytest.mark.parametrize("account", ["joint", "ira"])
def test_thirty_days_before_to_thirty_days_after_ends_included_and_clean_on_day_31(day, is_washed, account):
    known = buy("100", "10000", around(day), account=account)
    assert (harvest(known=(known,)).disallowed == 1_000_000) is is_washed
    assert (harvest(known).disallowed == 1_000_000) is is_washed


@pytest.mark.parametrize(("day", "is_washed"), [(30, True), (31, False)])
def test_a_purchase_is_free_on_day_31_after_the_sale_and_not_on_day_30(day, is_washed):
    again = buy("100", "9000", around(day), name="again")
    found = effects([HELD, HARVEST], [again], [], Rules(), YEAR)["again"]
    assert (found.disallowed > 0) is is_washed
    if is_washed:
        assert (
            "joint sold 100 XYZ on 2025-06-16, 30 days before (26 USC 1091(a), (d); Treas. Reg. 1.1091-1, 1.1091-2)"
            in beyond(found, LIMITS)
        )


# The whole batch --------------------------------------------------------------------------------------


def test_one_trade_of_a_batch_washes_another_and_both_say_so():
    swap = buy("40", "4000", SALE_ON, account="taxable-2", name="swap")
    found = effects([HELD], [HARVEST, swap], [], Rules(), YEAR)
    assert [found[name].disallowed for name in ("harvest", "swap")] == [400_000, 400_000]
    assert "taxable-2 would buy 40 XYZ on 2025-06-16, the same day" in beyond(found["harvest"], LIMITS)
    assert "joint would sell 100 XYZ on 2025-06-16, the same day" in beyond(found["swap"], LIMITS)


def test_two_sales_share_a_purchase_and_each_share_of_it_replaces_once():
    other = buy("100", "20000", date(2024, 12, 2), account="taxable-2")
    second = sell("100", "10000", account="taxable-2", name="second")
    found = effects([HELD, other, buy("100", "9000", around(-3), account="ira")], [HARVEST, second], [], Rules(), YEAR)
    assert sorted(one.disallowed for one in found.values()) == [0, 1_000_000]


def test_what_the_check_says_is_what_the_books_say_when_the_batch_is_filled():
    events = [HELD, buy("30", "3300", around(-9)), buy("12.5", "1200", around(-20), account="ira")]
    batch = [HARVEST, buy("10", "1000", SALE_ON, account="taxable-2", name="swap")]
    known = [buy("7", "700", around(22), account="roth-spouse")]
    found = effects(events, batch, known, Rules(), YEAR)
    books = book([*events, *batch, *known], Rules())
    sold = [row for row in books.disposals if row.trade_id == "harvest"]
    assert found["harvest"].short_gain == sum(row.gain for row in sold) == -1_000_000 + 100 * 100 * (30 + 12.5 + 10 + 7)
    assert found["harvest"].disallowed == sum(row.disallowed for row in sold)
    assert found["harvest"].permanent == sum(row.permanent for row in sold) == 100 * 100 * 19.5


def test_a_trade_that_the_books_cannot_take_is_refused_with_their_reason():
    found = effects([HELD], [sell("101", "10000", name="too many")], [], Rules(), YEAR)["too many"]
    assert "the books could not take it: oversell: joint holds 100 shares of XYZ" in beyond(found, LIMITS)


def test_a_sale_that_washes_nothing_says_nothing():
    assert (beyond(harvest(), LIMITS), within(harvest()), harvest().matches) == ("", "", ())


# What it costs ----------------------------------------------------------------------------------------


def test_the_tax_of_a_harvest_is_by_the_households_rates_and_by_term():
    assert (harvest().short_gain, harvest().tax) == (-1_000_000, -290_000)
    old = buy("100", "20000", date(2023, 1, 3), name="old")
    found = effects([old], [HARVEST], [], Rules(), YEAR._replace(long_usd=Decimal(50_000)))["harvest"]
    assert (found.long_gain, found.tax) == (-1_000_000, -200_000)


def test_what_is_put_off_and_what_is_lost_are_two_figures():
    found = harvest(buy("25", "2500", around(-4)), buy("10", "1000", around(-2), account="ira"))
    assert (found.disallowed, found.permanent) == (350_000, 100_000)
    assert (found.delayed_tax, found.lost_tax) == (72_500, 29_000)
    assert found.tax == -(1_000_000 - 350_000) * 29 // 100
    assert found.disallowed_of("short") == 350_000 and found.disallowed_of("long") == 0


def test_every_match_carries_its_rule_its_citation_both_trades_and_the_days_between():
    [match] = harvest(buy("10", "1000", around(-7), account="ira", name="I-7")).matches
    assert (match.sale.trade_id, match.purchase.trade_id, match.days) == ("harvest", "I-7", -7)
    assert (match.rule, match.citation) == ("deferred", RULES["deferred"])
    assert (match.sale.state, match.purchase.state) == ("proposed", "made")


# What is known to come --------------------------------------------------------------------------------


def plan(**given) -> Plan:
    once = {"name": "order-1", "account_id": "ira", "security_id": "XYZ", "is_deferred": True, "quantity": 10 * 10**9}
    return Plan(**{**once, "amount": None, "first": around(10), **given})


def test_an_open_order_a_plan_and_a_vesting_day_are_purchases_not_booked_yet():
    for given, words in (
        ({}, "ira buys 10 XYZ on 2025-06-26 (order-1-2025-06-26, known and not booked yet), 10 days after"),
        ({"name": "vesting-2", "account_id": "joint", "is_deferred": False, "first": around(1)}, "1 day after"),
        ({"name": "payroll-3", "first": date(2025, 1, 15), "every": "month"}, "on 2025-07-15"),
    ):
        known, unsized = coming([(plan(**given), around(0))], around(30), {"XYZ": Decimal(100)})
        found = harvest(known=tuple(known))
        assert unsized == [] and found.disallowed == 100_000
        assert words in beyond(found, LIMITS)


@pytest.mark.parametrize(("day", "is_washed"), [(30, True), (31, False)])
def test_a_plan_counts_to_the_last_day_of_the_window(day, is_washed):
    known, _ = coming([(plan(first=around(day)), around(0))], around(60), {})
    assert bool(harvest(known=tuple(known)).matches) is is_washed


def test_a_plan_in_dollars_buys_at_the_latest_price_and_without_one_nobody_can_tell():
    dollars = plan(quantity=None, amount=50_000)
    [trade], _ = coming([(dollars, around(0))], around(30), {"XYZ": Decimal(150)})
    assert (trade.quantity, trade.amount) == (3_333_333_333, 50_000)
    assert coming([(dollars, around(0))], around(30), {}) == ([], [(dollars, around(10))])
    unknown = plan(quantity=None)
    assert coming([(unknown, around(0))], around(30), {"XYZ": Decimal(1)}) == ([], [(unknown, around(10))])


def test_a_plan_comes_every_week_month_or_quarter_until_it_ends():
    def when(every: str, until: date | None = None) -> list[str]:
        found = days(plan(first=date(2025, 1, 31), every=every, until=until), date(2025, 2, 1), date(2025, 5, 31))
        return [f"{on:%m-%d}" for on in found]

    assert when("week", date(2025, 2, 21)) == ["02-07", "02-14", "02-21"]
    assert when("month") == ["02-28", "03-31", "04-30", "05-31"]
    assert when("quarter") == ["04-30"]


# Three tiers of likeness ------------------------------------------------------------------------------

SHARE_CLASSES = {"GOOG": "alphabet", "GOOGL": "alphabet", "VFIAX": "VOO"}
SAME_INDEX = dict.fromkeys(("SPY", "IVV", "VOO"), "S&P 500")


def test_share_classes_of_one_issuer_wash_each_other():
    held, sale = buy("10", "2000", date(2025, 1, 6), "GOOG"), sell("10", "1000", security="GOOG", name="sale")
    found = effects([held], [sale], [buy("10", "1000", around(8), "GOOGL")], Rules(), YEAR, SHARE_CLASSES)["sale"]
    assert found.disallowed == 100_000 and "joint buys 10 GOOGL" in beyond(found, LIMITS)


def test_funds_on_one_index_are_not_washed_and_the_harvest_is_refused_all_the_same():
    held, sale = buy("10", "6000", date(2025, 1, 6), "SPY"), sell("10", "5000", security="SPY", name="sale")
    wide = merged(SHARE_CLASSES, SAME_INDEX)
    for fund in ("IVV", "VOO", "VFIAX"):
        events = [held, buy("10", "5000", around(-10), fund, "ira")]
        found = effects(events, [sale], [], Rules(), YEAR, SHARE_CLASSES, wide)["sale"]
        assert found.matches == () and found.short_gain == -100_000, "the books do not match them"
        said = beyond(found, LIMITS)
        assert "$1,000.00 of loss would be disallowed if funds on the same index count as substantially" in said
        assert f"ira bought 10 {fund} on 2025-06-06, 10 days before" in said
        answered = effects(events, [sale], [], Rules(), YEAR, wide, wide)["sale"]
        assert (answered.disallowed, answered.doubtful) == (100_000, ()), "answered so, the books match them"


def test_a_purchase_of_another_fund_on_the_index_of_a_loss_is_refused_too():
    held, sale = buy("10", "6000", date(2025, 1, 6), "SPY"), sell("10", "5000", security="SPY")
    swap = buy("10", "5000", around(3), "IVV", name="swap")
    found = effects([held, sale], [swap], [], Rules(), YEAR, {}, merged({}, SAME_INDEX))["swap"]
    assert found.disallowed == 0 and found.loss == 100_000
    assert "if funds on the same index" in beyond(found, LIMITS)


def test_a_third_of_a_share_of_another_fund_on_the_index_vetoes_nothing():
    held, sale = buy("100", "60000", date(2025, 1, 6), "SPY"), sell("100", "50000", security="SPY", name="sale")
    events = [held, buy("0.3", "150", around(-10), "IVV")]
    assert beyond(effects(events, [sale], [], Rules(), YEAR, {}, merged({}, SAME_INDEX))["sale"], LIMITS) == ""


def test_the_tiers_hang_together():
    groups = merged(SHARE_CLASSES, SAME_INDEX)
    assert len({groups[fund] for fund in ("SPY", "IVV", "VOO", "VFIAX")}) == 1
    assert groups["GOOG"] == groups["GOOGL"] == "alphabet"
    assert merged(SHARE_CLASSES, {}).items() >= {("GOOG", "alphabet"), ("VFIAX", "VOO")}
