"""From what a class needs to trades of accounts: the pure desk, and the methods on a small household."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import sin

import polars as pl
import pytest
from conftest import _without_report
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Small

from flows.daily import daily
from flows.day import Day, day_of
from flows.measure import measure
from flows.rebalance import bands, cash_flow
from flows.settings import SettingsError
from transforms.harvest.benefit import Rates
from transforms.orders.arbiter import Proposed
from transforms.portfolio.bands import CASH
from transforms.portfolio.trades import Account, Desk, OpenLot, Policy, Swap, invest, raise_cash, swap
from transforms.tables import core
from warehouse.db import Warehouse, writer

D = Decimal
RATES = Rates(D("0.29"), D("0.20"), D("0.29"), D(3000))
ANY = D(10**9)
IRA = Account(True, False, D("0.0001"), ANY)
FIFO = Account(False, False, D("0.0001"), ANY)
PICKED = Account(False, True, D("0.0001"), ANY)
WHOLE = Account(True, False, D(1), ANY)
OF = {"XOM": "Energy", "CVX": "Energy", "JPM": "Banks", "JNJ": "Health"}


def lot(account: str, security: str, lot_id: str, quantity: object, gain: object = 0, term: str = "long") -> OpenLot:
    gains = {"short": (D(str(gain)), D(0)), "long": (D(0), D(str(gain)))}[term]
    return OpenLot(account, security, OF[security], lot_id, D(str(quantity)), *gains)


def desk(
    accounts: Mapping[str, Account],
    *lots: OpenLot,
    choices: Mapping[tuple[str, str], list[str]] | None = None,
    distance: Mapping[str, int] | None = None,
    cushion: str = "0",
    least: int = 0,
    **more: object,
) -> Desk:
    """Every security is $100 a share."""
    everywhere = {(a, c): [s for s, of in OF.items() if of == c] for a in accounts for c in set(OF.values())}
    given_ = {
        "gains_usd": [D(0), D(0)],
        "gains_left_usd": [None, None],
        "turnover_left_usd": ANY,
        "position_left_usd": {},
    }
    return Desk(
        accounts=accounts, prices=dict.fromkeys(OF, D(100)), lots=lots,
        choices=everywhere if choices is None else choices,
        distance_usd={name: D(usd) for name, usd in (distance or {}).items()},
        policy=Policy(D(least), D(cushion), D(5)), rates=RATES, **(given_ | more),
    )  # type: ignore[arg-type] # fmt: skip


def sold(swaps: list[Swap]) -> dict[tuple[str, str], Decimal]:
    return {(one.account_id, lot_id): shares for one in swaps for sale in one.sales for lot_id, shares in sale.picks}


def bought(swaps: list[Swap]) -> dict[tuple[str, str], Decimal]:
    return {(one.account_id, it.security_id): it.quantity for one in swaps for it in one.purchases}


# Which lots -------------------------------------------------------------------------------------------


def test_a_class_is_sold_where_no_tax_is_due_before_a_gain_is_realised():
    made = swap(
        desk({"ira": IRA, "joint": PICKED}, lot("joint", "XOM", "J", 100, 2000), lot("ira", "XOM", "I", 60, 5000)),
        {"Energy": D(8000)}, {"Banks": D(8000)},
    )  # fmt: skip
    assert sold(made) == {("ira", "I"): D(60), ("joint", "J"): D(20)}
    assert [(one.account_id, one.tax_usd) for one in made] == [("ira", D(0)), ("joint", D("80.00"))]
    assert bought(made) == {("ira", "JPM"): D(60), ("joint", "JPM"): D(20)}, "the money stays in its account"


def test_the_broker_that_takes_lots_sells_those_of_least_tax_and_a_loss_before_all():
    lots = [lot("joint", "XOM", name, 10, gain, term) for name, gain, term in
            [("old", 500, "long"), ("young", 400, "short"), ("small", 100, "long"), ("loss", -50, "long")]]  # fmt: skip
    made = swap(desk({"joint": PICKED}, *lots), {"Energy": D(3500)}, {"Banks": D(3500)})
    assert list(sold(made).items()) == [
        (("joint", "loss"), D(10)), (("joint", "small"), D(10)), (("joint", "old"), D(10)), (("joint", "young"), D(5)),
    ]  # fmt: skip
    assert made[0].tax_usd == D("0.29") * 200 + D("0.20") * 550


def test_the_broker_that_relieves_first_in_first_out_sells_its_oldest_lot_whatever_it_costs():
    lots = [lot("joint", "XOM", "old", 10, 500), lot("joint", "XOM", "loss", 10, -500)]
    assert sold(swap(desk({"joint": FIFO}, *lots), {"Energy": D(1200)}, {"Banks": D(1200)})) == {
        ("joint", "old"): D(10), ("joint", "loss"): D(2),
    }  # fmt: skip


def test_what_cannot_be_placed_in_its_account_is_not_sold():
    choices = {("ira", "Banks"): [], ("joint", "Banks"): ["JPM"]}
    seen = desk(
        {"ira": IRA, "joint": PICKED}, lot("ira", "XOM", "I", 50), lot("joint", "XOM", "J", 50, 900), choices=choices
    )
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("joint", "J"): D(30)}
    assert [(one.account_id, one.reason) for one in seen.left_alone] == [
        ("ira", "nothing more that is below its target can be bought there")
    ]


def test_money_stays_in_cash_where_cash_is_below_its_target():
    [made] = swap(desk({"ira": IRA}, lot("ira", "XOM", "I", 50), choices={}), {"Energy": D(3000)}, {CASH: D(3000)})
    assert made.sold_usd == 3000 and not made.purchases


def test_whole_shares_are_traded_where_the_account_takes_no_others():
    made = swap(desk({"k": WHOLE}, lot("k", "XOM", "K", "50.5")), {"Energy": D(1234)}, {"Banks": D(1234)})
    assert sold(made) == {("k", "K"): D(12)} and bought(made) == {("k", "JPM"): D(12)}


def test_what_is_too_small_for_an_order_is_left():
    assert swap(desk({"ira": IRA}, lot("ira", "XOM", "I", 50), least=250), {"Energy": D(249)}, {"Banks": D(249)}) == []
    assert invest(desk({"ira": IRA}, distance={"Banks": -5000}, least=250), {"ira": D(249)}) == []


# Limits and worth -------------------------------------------------------------------------------------


def test_a_sale_that_costs_more_than_less_drift_is_worth_is_left_alone_and_the_free_one_is_made():
    quadratic = lambda far: sum((usd * usd for usd in far.values()), D(0)) / 500_000
    far = {"Energy": 8000, "Banks": -8000}
    lots = [lot("joint", "XOM", "J", 100, 5000), lot("ira", "XOM", "I", 40, 5000)]
    seen = desk({"ira": IRA, "joint": PICKED}, *lots, distance=far, drift_cost=quadratic)
    made = swap(seen, {"Energy": D(8000)}, {"Banks": D(8000)})
    assert sold(made) == {("ira", "I"): D(40)}
    assert made[0].worth_usd == 2 * (8000**2 - 4000**2) // 500_000 and made[0].cost_usd == 4
    [left] = seen.left_alone
    assert left.reason == "its sale would cost $404.00 (tax $400.00), less drift is worth $64.00"
    free = desk({"ira": IRA, "joint": PICKED}, *lots, distance=far)
    assert sold(swap(free, {"Energy": D(8000)}, {"Banks": D(8000)}))["joint", "J"] == 40, "without the test it is made"


def test_an_order_stays_within_the_limits_of_the_gates_and_the_rest_waits():
    small = IRA._replace(max_order_usd=D(1000))
    seen = desk({"ira": small}, lot("ira", "XOM", "I", 50))
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("ira", "I"): D(10)}
    assert "max_order_weight" in seen.left_alone[0].reason
    seen = desk({"joint": PICKED}, lot("joint", "XOM", "J", 50, 2500), gains_left_usd=[D(0), D(500)])
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("joint", "J"): D(10)}
    seen = desk({"ira": IRA}, lot("ira", "XOM", "I", 50), turnover_left_usd=D(2000))
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("ira", "I"): D(10)}


def test_a_purchase_goes_on_to_the_next_security_of_its_class_where_the_first_is_full():
    seen = desk({"ira": IRA}, distance={"Energy": -5000}, position_left_usd={"XOM": D(1000)})
    assert bought(invest(seen, {"ira": D(3000)})) == {("ira", "XOM"): D(10), ("ira", "CVX"): D(20)}


# Cash -------------------------------------------------------------------------------------------------


def test_cash_goes_to_what_is_furthest_below_in_the_account_where_it_lies():
    seen = desk({"a": IRA, "b": IRA}, distance={"Energy": -3000, "Banks": -2000, "Health": 5000},
                choices={("a", "Energy"): ["XOM"], ("a", "Banks"): ["JPM"], ("b", "Banks"): ["JPM"]})  # fmt: skip
    made = invest(seen, {"a": D(2000), "b": D(5000)})
    assert bought(made) == {("a", "XOM"): D(15), ("a", "JPM"): D(5), ("b", "JPM"): D(15)}
    assert seen.distance_usd == {"Energy": D(-1500), "Banks": D(0), "Health": D(5000), CASH: D(-3500)}


def test_a_withdrawal_is_raised_from_what_is_furthest_above_in_its_own_account():
    lots = [lot("a", "XOM", "E", 100), lot("a", "JPM", "B", 100), lot("b", "XOM", "F", 100)]
    made = raise_cash(desk({"a": IRA, "b": IRA}, *lots, distance={"Energy": 3000, "Banks": 1000}), {"a": D(4000)})
    assert sold(made) == {("a", "E"): D(30), ("a", "B"): D(10)}


def test_a_withdrawal_is_raised_whatever_it_is_worth_and_however_small_it_is():
    seen = desk({"a": PICKED}, lot("a", "XOM", "E", 100, 9000), least=250, drift_cost=lambda far: D(0), cushion="0.02")
    [made] = raise_cash(seen, {"a": D(98)})
    assert made.sold_usd == 100 and made.tax_usd == 18


# What always holds ------------------------------------------------------------------------------------

securities = st.sampled_from(sorted(OF))
held_lots = st.builds(
    lot, st.sampled_from(["ira", "fifo", "picked", "whole"]), securities, st.integers(0, 10**6).map(str),
    st.integers(1, 10**6).map(lambda n: D(n).scaleb(-3)), st.integers(-3000, 3000), st.sampled_from(["short", "long"]),
)  # fmt: skip
dollars = st.integers(0, 10**7).map(lambda n: D(n).scaleb(-2))
ALL = {"ira": IRA, "fifo": FIFO, "picked": PICKED, "whole": WHOLE}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(held_lots, max_size=12, unique_by=lambda one: one.lot_id), dollars, st.tuples(dollars, dollars),
    st.sets(st.tuples(st.sampled_from(sorted(ALL)), st.sampled_from(["JPM", "JNJ"]))), st.sampled_from(["0", "0.02"]),
    st.sampled_from([0, 250]),
)  # fmt: skip
def test_no_account_spends_what_it_did_not_sell_nor_sells_what_it_has_not(lots, energy, short, barred, cushion, least):
    choices = {(a, c): [s] for a in ALL for c, s in (("Banks", "JPM"), ("Health", "JNJ")) if (a, s) not in barred}
    seen = desk(ALL, *lots, choices=choices, cushion=cushion, least=least)
    made = swap(seen, {"Energy": energy}, {"Banks": short[0], "Health": short[1]})
    for one in made:
        assert one.bought_usd <= one.sold_usd * (1 - D(cushion)) + D("0.05")
        assert all(OF[sale.security_id] == "Energy" for sale in one.sales) and one.asset_class == "Energy"
        assert all((one.account_id, it.security_id) not in barred for it in one.purchases)
        assert all(it.quantity * it.price_usd >= D(least) * D("0.97") for it in one.purchases)
    assert sum(one.sold_usd for one in made) <= energy + D("0.05")
    have = {(one.account_id, one.lot_id): one.quantity for one in lots}
    assert all(0 < shares <= have[key] for key, shares in sold(made).items())
    for name, usd in (("JPM", short[0]), ("JNJ", short[1])):
        assert sum(shares for (_, it), shares in bought(made).items() if it == name) * 100 <= usd + D("0.05")
    whole = [it.quantity for one in made if one.account_id == "whole" for it in (*one.sales, *one.purchases)]
    assert all(shares == int(shares) for shares in whole)


@settings(max_examples=80, deadline=None)
@given(st.lists(held_lots, max_size=8, unique_by=lambda one: one.lot_id), dollars)
def test_the_same_desk_makes_the_same_trades_in_whatever_order_accounts_are_listed(lots, energy):
    made = [
        swap(desk(dict(order), *lots), {"Energy": energy}, {"Banks": energy})
        for order in (ALL.items(), reversed(ALL.items()))
    ]
    assert made[0] == made[1]


# On a household ---------------------------------------------------------------------------------------

AS_OF, NEXT = date(2026, 3, 6), date(2026, 3, 9)  # a Friday, and the Monday after it
NOW = datetime(2026, 3, 6, 22)
PRICES = {"XOM": 100.0, "CVX": 50.0, "JPM": 200.0, "JNJ": 150.0, "ABT": 100.0}
FREE = '\n[preferred]\n"JNJ sector" = ["JNJ", "ABT"]\n'  # JNJ is barred by a loss, ABT is of its sector
SLEEVE = '\n[[sleeves]]\nname = "all"\nmethod = "{}"\n'
TARGETS = '\n[targets]\n"XOM sector" = 0.40\n"JPM sector" = 0.40\n"JNJ sector" = 0.20\n'
PLAIN = "\n[bands]\ncost_benefit = false\n"


class Moving(Small):
    """Its prices move: every security has a rhythm of its own, and closes where it should on the last day."""

    def run(self, as_of: date, **_: object) -> str:
        days = [day for n in range(130, -1, -1) if (day := as_of - timedelta(days=n)).weekday() < 5]
        rows = []
        for i, (name, last) in enumerate(self._prices.items()):
            level = [1 + 0.02 * sin((i + 1.3) * n) for n in range(len(days))]
            rows += [
                (name, day, last * x / level[-1], last * x / level[-1], 1_000_000)
                for day, x in zip(days, level, strict=True)
            ]
        frame = pl.DataFrame(rows, schema=["ticker", "date", "close", "adj_close", "volume"], orient="row")
        frame.write_parquet(self.home / "prices" / "us_x_daily_y.parquet")
        self.done = daily(self.settings(), as_of, step=_without_report)
        return self.done.summary.plain()


LOOSE = "\n[gates]\nmax_order_weight = 1\nmax_daily_turnover = 1\nmax_position_weight = 1\nmax_daily_long_gain_usd = 1000000\n"


def account(
    house: Moving, name: str, *rows: tuple[str, str, str, float, float], kind: str = "taxable", more: str = ""
) -> None:
    """What an account did, each as (day, side, security, shares, price); its deposits pay for all of it and leave `cash`."""
    house.account(name, type=kind, owner="self" if kind != "taxable" else "joint", more=more)
    lines, held = [], {"usd": 0.0}
    for n, (on, side, security, shares, price) in enumerate(rows):
        usd = round(shares * price, 2)
        if side == "cash":
            lines.append(f"{name}-{n},{on}T09:00:00,deposit,,,,,0,{usd:.2f},")
            held["usd"] += usd
            continue
        if side == "buy":
            lines.append(f"{name}-{n}in,{on}T09:00:00,deposit,,,,,0,{usd:.2f},")
        lines.append(
            f"{name}-{n},{on}T10:00:00,trade,{side},{security},{shares},{price},0,{usd if side == 'sell' else -usd:.2f},"
        )
        held["usd"] += usd if side == "sell" else 0
        held[security] = held.get(security, 0) + (shares if side == "buy" else -shares)
    house.says(name, *lines)
    house.holds(name, AS_OF, **{what: f"{count:.10g}" for what, count in held.items() if count or what == "usd"})


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Moving:
    """$100,000: XOM 60 % of which 10 in the IRA, JPM 20, JNJ 7.5 (sold at a loss two weeks ago), cash 12.5 %."""
    made = Moving(tmp_path_factory.mktemp("house") / "house", PRICES)
    listed = made.home / "prices" / "securities.csv"
    listed.write_text(listed.read_text().replace("ABT sector", "JNJ sector"))
    account(
        made,
        "ira",
        ("2021-01-04", "buy", "XOM", 100, 50),
        ("2021-01-04", "buy", "JNJ", 50, 100),
        kind="traditional_ira",
    )
    account(
        made, "joint", ("2021-01-04", "buy", "XOM", 500, 90), ("2021-01-04", "buy", "JPM", 100, 100),
        ("2024-01-04", "buy", "JNJ", 10, 170), ("2026-02-20", "sell", "JNJ", 10, 140), ("2026-02-23", "cash", "", 1, 11_100),
        more='relief = "on_order"',
    )  # fmt: skip
    made.portfolio += TARGETS
    made.policy = made.portfolio
    made.run(AS_OF)
    assert not made.ask("FROM core.breaks")
    return made


@contextmanager
def books(house: Moving, policy: str) -> Iterator[tuple[Warehouse, Day]]:
    """The booked household under another policy, its drift measured again; nothing of it is kept."""
    house.portfolio = house.policy + policy
    with writer(house.settings().warehouse) as warehouse:
        day = day_of(house.settings(), AS_OF, NOW)
        warehouse.run("BEGIN TRANSACTION")
        warehouse._is_in_transaction = True
        try:
            measure(warehouse, day)
            yield warehouse, day
        finally:
            warehouse.run("ROLLBACK")
            warehouse._is_in_transaction = False


def proposals(house: Moving, policy: str, method: str = "bands") -> list[Proposed]:
    with books(house, policy + SLEEVE.format(method)) as (warehouse, day):
        return list({"bands": bands, "cash_flow": cash_flow}[method](warehouse, day))


def dollars_of(trades: list[Proposed]) -> dict[tuple[str, str, str], int]:
    found: dict[tuple[str, str, str], Decimal] = {}
    for t in trades:
        key = t.account_id, t.side, t.security_id
        found[key] = found.get(key, D(0)) + t.quantity * t.price_usd
    return {key: round(usd) for key, usd in found.items()}


def test_without_a_sleeve_that_asks_nothing_is_proposed(house):
    with books(house, PLAIN + LOOSE) as (warehouse, day):
        assert [*bands(warehouse, day), *cash_flow(warehouse, day)] == []
    assert proposals(house, PLAIN + LOOSE, "cash_flow") and proposals(house, PLAIN + LOOSE)


def test_cash_goes_to_what_is_below_its_target_and_nothing_is_sold_for_it(house):
    trades = proposals(house, PLAIN + LOOSE, "cash_flow")
    assert dollars_of(trades) == {("joint", "buy", "JPM"): 12_250}, (
        "2 % stays; JNJ may not be bought: its loss would be washed"
    )
    assert trades[0].reason == (
        "JPM sector 20.0% against 40.0%; $12,250 of spare cash in joint to what is below its target"
    )


def test_what_strayed_is_sold_where_no_tax_is_due_and_the_money_is_spent_where_it_is(house):
    trades = proposals(house, PLAIN + LOOSE)
    # 12,250 of cash first; JPM is then 7,750 below its target, and all that XOM's 17,500 may become
    assert dollars_of(trades) == {
        ("joint", "buy", "JPM"): 12_250, ("ira", "sell", "XOM"): 7_908, ("ira", "buy", "JPM"): 7_750,
    }  # fmt: skip
    [sale] = [t for t in trades if t.side == "sell"]
    assert sale.reason == (
        "XOM sector 60.0% against 40.0%, band 5.0%: sell $7,908 to come back to half the band and buy JPM sector; "
        "tax $0 in ira (traditional_ira); the trades cost $8"
    )


def test_a_security_that_a_loss_bars_is_bought_nowhere_and_drift_says_so(house):
    with books(house, "") as (warehouse, _):
        locked = dict(warehouse.rows("SELECT asset_class, locked FROM core.drift").iter_rows())
    assert locked["JNJ sector"] == (
        "JNJ is not to be bought up to 2026-03-22: it, or what counts as identical, was sold at a loss on 2026-02-20"
    )
    assert locked["XOM sector"] == "" == locked["JPM sector"]


def after(house: Moving, trades: list[Proposed]) -> dict[str, float]:
    """The weights when all is filled at the prices that it was proposed on."""
    with books(house, "") as (warehouse, _):
        value = dict(warehouse.rows("SELECT asset_class, value_usd FROM core.drift").iter_rows())
    for t in trades:
        usd = t.quantity * t.price_usd * (1 if t.side == "buy" else -1)
        its = "JNJ sector" if t.security_id == "ABT" else f"{t.security_id} sector"
        value[its] += usd
        value[CASH] -= usd
    assert value[CASH] >= 0 and sum(value.values()) == 100_000
    return {name: float(usd) / 100_000 for name, usd in value.items()}


@pytest.mark.parametrize(
    ("how", "there"),
    [("target", (0.40, 0.39675, 0.19675)), ("half", (0.425, 0.3845, 0.1845)), ("edge", (0.45, 0.37225, 0.17225))],
)
def test_what_is_traded_comes_back_to_where_the_policy_says(house, how, there):
    """By hand: 12,250 of cash levels JPM and JNJ; XOM is sold, first 10,000 in the IRA; 2 % of the money stays in cash."""
    trades = proposals(house, PLAIN + f'trade_back = "{how}"\n' + LOOSE + FREE)
    found = after(house, trades)
    assert tuple(found[f"{name} sector"] for name in ("XOM", "JPM", "JNJ")) == pytest.approx(there, abs=2e-6)
    assert dollars_of(trades)["ira", "sell", "XOM"] == 10_000


def test_a_preferred_security_that_is_of_another_class_is_not_bought_for_it(house):
    assert not [t for t in proposals(house, PLAIN + LOOSE + FREE.replace("ABT", "CVX")) if t.security_id == "CVX"]


def test_what_may_not_be_traded_is_left_alone_and_shown(house):
    policy = PLAIN + LOOSE + 'do_not_trade = ["JPM", "XOM"]\n' + SLEEVE.format("bands")
    with books(house, policy) as (warehouse, day):
        assert list(bands(warehouse, day)) == []
        rows = {
            row[0]: row[1:]
            for row in warehouse.rows("SELECT asset_class, locked_usd, locked FROM core.drift").iter_rows()
        }
        left = warehouse.rows("SELECT account_id, security_id, reason FROM core.left_alone ORDER BY ALL").rows()
    assert rows["XOM sector"] == (60_000, "XOM is on the do-not-trade list") and rows["Cash"][0] == 0
    why = "is on the do-not-trade list"
    cannot = "nothing of it can be bought today: core.drift says what is locked, [preferred] what to buy of it"
    assert left == [("", "", cannot), ("", "", cannot), ("ira", "XOM", why), ("joint", "XOM", why)], "JNJ and JPM"


def test_a_gain_is_realised_only_where_less_drift_is_worth_its_tax(house):
    """The IRA's 10,000 are not enough: the taxable account would sell 7,500 at a gain of 750.

    300 of it takes up this year's short-term loss, which would have saved 27 %; the other 450 are taxed at 20 %: $171.
    """
    asked = {"joint": "sell", "ira": "sell"}
    made = {}
    for aversion in (0.0001, 0.5, 30):
        trades = proposals(house, f"\n[bands]\nrisk_aversion = {aversion}\n" + LOOSE + FREE)
        made[aversion] = {t.account_id for t in trades if t.side == asked[t.account_id]}
    assert made == {0.0001: set(), 0.5: {"ira"}, 30: {"ira", "joint"}}
    with books(house, "\n[bands]\nrisk_aversion = 0.5\n" + LOOSE + FREE + SLEEVE.format("bands")) as (warehouse, day):
        reasons = {t.account_id: t.reason for t in bands(warehouse, day) if t.side == "sell"}
        [left] = warehouse.rows("SELECT reason FROM core.left_alone WHERE account_id = 'joint'")["reason"]
    assert re.search(r"less drift is worth \$\d+ over 3 years, the trades cost \$10$", reasons["ira"])
    assert re.fullmatch(r"its sale would cost \$178.42 \(tax \$171.00\), less drift is worth \$\d+\.\d\d", left)


def test_bands_are_looked_at_in_the_first_decision_of_two_weeks_and_cash_every_day(house):
    def with_a_decision_of(on: date) -> set[str]:
        with books(house, PLAIN + LOOSE + SLEEVE.format("bands")) as (warehouse, day):
            warehouse.run(
                "INSERT INTO ledger.batches SELECT 'b', 'ira', $on, $at, $on, 'daily', 9, 'h', 'auto', '', 'r', $at",
                on=on, at=NOW,
            )  # fmt: skip
            return {t.side for t in bands(warehouse, day)}

    assert with_a_decision_of(date(2026, 3, 3)) == {"buy"} and with_a_decision_of(date(2026, 2, 27)) == {"buy", "sell"}


def decided(warehouse: Warehouse, on: date, method: str, *lines: tuple[str, str]) -> None:
    """A decision of an earlier day, all of it filled, as one pair."""
    warehouse.run(
        "INSERT INTO ledger.batches SELECT 'b', 'ira', $on, $at, $on, 'daily', 9, 'h', 'auto', '', 'r', $at",
        on=on,
        at=NOW,
    )
    for line, (side, what) in enumerate(lines, 1):
        named = {"line": line, "id": f"b.{line}"}
        warehouse.run(
            "INSERT INTO ledger.batch_lines SELECT 'b', $line, 1, $method, $side, $what, 5, 100, '', 0, 0, '', '', ''",
            line=line, method=method, side=side, what=what,
        )  # fmt: skip
        warehouse.run("INSERT INTO ledger.intents SELECT $id, 'b', $line, 1, 5, NULL, NULL, '', $at", at=NOW, **named)
        for event in ("fill", "filled"):
            warehouse.run(
                "INSERT INTO ledger.order_events SELECT $id, $event, $id, 5, '', $at",
                id=f"b.{line}",
                event=event,
                at=NOW,
            )


@pytest.mark.parametrize(
    ("on", "method", "lines", "is_sold"),
    [
        (date(2026, 2, 24), "harvest, bands", [("sell", "XOM"), ("buy", "JPM")], False),
        (date(2026, 2, 23), "bands", [("sell", "XOM"), ("buy", "JPM")], True),  # 14 days before 9 March
        (date(2026, 2, 24), "bands", [("buy", "XOM")], True),  # cash went to it
        (date(2026, 2, 24), "harvest", [("sell", "XOM"), ("buy", "JPM")], True),
    ],
)
def test_a_class_rests_14_days_after_bands_sold_it_and_not_after_anything_else(house, on, method, lines, is_sold):
    with books(house, PLAIN + 'look = "daily"\n' + LOOSE + FREE + SLEEVE.format("bands")) as (warehouse, day):
        decided(warehouse, on, method, *lines)
        sold_now = {t.security_id for t in bands(warehouse, day) if t.side == "sell"}
        left = warehouse.rows("SELECT reason FROM core.left_alone WHERE asset_class = 'XOM sector'")["reason"].to_list()
    assert sold_now == ({"XOM"} if is_sold else set())
    assert is_sold or f"it rests: it was rebalanced on {on}" in left


def test_a_withdrawal_is_raised_before_its_day_from_what_is_above_its_target_and_cash_goes_first(house):
    planned = '\n[[withdrawals]]\naccount = "{}"\non = 2026-03-{}\namount_usd = {}\n'
    raised = proposals(house, LOOSE + planned.format("ira", 16, 4900), "cash_flow")
    assert dollars_of(raised) == {("ira", "sell", "XOM"): 5_000, ("joint", "buy", "JPM"): 12_250}
    assert raised[0].reason == (
        "$4,900 is missing in ira for the withdrawal of $4,900 on 2026-03-16; XOM sector 60.0% against 40.0%: sell $5,000; "
        "tax $0 in ira (traditional_ira)"
    )
    assert ("ira", "sell", "XOM") not in dollars_of(
        proposals(house, LOOSE + planned.format("ira", 17, 4900), "cash_flow")
    )
    from_cash = dollars_of(proposals(house, LOOSE + planned.format("joint", 12, 10_000), "cash_flow"))
    assert from_cash == {("joint", "buy", "JPM"): 2_450}, "12,500 less 10,000, and 2 % of it stays"


def test_cash_that_is_kept_or_a_target_is_not_invested(house):
    assert dollars_of(proposals(house, LOOSE + "\n[cash_flow]\nkeep_usd = 10000\n", "cash_flow")) == {
        ("joint", "buy", "JPM"): 2_450
    }
    targets = house.policy.replace('"XOM sector" = 0.40', '"XOM sector" = 0.30\nCash = 0.10')
    other = Moving.__new__(Moving)
    other.__dict__ |= house.__dict__ | {"policy": targets}
    assert dollars_of(proposals(other, LOOSE, "cash_flow")) == {("joint", "buy", "JPM"): 2_450}


def test_a_sleeve_trades_what_it_holds_and_nothing_else(house):
    ira = '\n[[sleeves]]\nname = "ira"\nmethod = "none"\naccounts = ["ira"]\n'
    trades = dollars_of(proposals(house, PLAIN + LOOSE + FREE + ira))
    assert {account for account, *_ in trades} == {"joint"} and ("joint", "sell", "XOM") in trades
    jpm = '\n[[sleeves]]\nname = "jpm"\nmethod = "none"\nsecurities = ["JPM"]\n'
    assert not [t for t in proposals(house, PLAIN + LOOSE + FREE + jpm) if t.security_id == "JPM"]
    xom = '\n[[sleeves]]\nname = "xom"\nmethod = "none"\nsecurities = ["XOM"]\n'
    assert {side for _, side, _ in dollars_of(proposals(house, PLAIN + LOOSE + FREE + xom))} == {"buy"}


def test_what_a_harvest_trades_today_is_left_to_it(house):
    with books(house, PLAIN + LOOSE + FREE + SLEEVE.format("bands")) as (warehouse, day):
        empty = core("proposals", [])
        blank = {pl.String: "", pl.Boolean: False, pl.Float64: 0.0, pl.Int64: 0, pl.Date: AS_OF}
        row = {name: blank.get(kind.base_type(), D(1)) for name, kind in empty.schema.items()}
        row |= {"account_id": "ira", "security_id": "XOM", "replacement_id": "CVX"}
        warehouse.append("core.proposals", pl.DataFrame([row], schema=empty.schema))
        trades = list(bands(warehouse, day))
        left = warehouse.rows("SELECT account_id, reason FROM core.left_alone WHERE security_id = 'XOM'").rows()
    assert {(t.account_id, t.security_id) for t in trades if t.side == "sell"} == {("joint", "XOM")}
    assert ("ira", "it is harvested today") in left


def test_bands_may_follow_volatility(house):
    with books(house, "\n[bands]\nby_volatility = true\nvolatility_range = [0.9, 1.1]\nlookback_sessions = 60\n") as (
        warehouse,
        _,
    ):
        width = dict(warehouse.rows("SELECT asset_class, band FROM core.drift").iter_rows())
    assert width[CASH] == 0.05 and {width["XOM sector"], width["JPM sector"], width["JNJ sector"]} != {0.05, 0.04}
    assert all(
        0.8999 <= width[name] / flat <= 1.1001
        for name, flat in (("XOM sector", 0.05), ("JPM sector", 0.05), ("JNJ sector", 0.04))
    )


# Wash sales -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def washed(tmp_path_factory: pytest.TempPathFactory) -> Moving:
    """XOM at 70 % of $100,000: 30 in a taxable account at a loss, 40 in an IRA that bought the last of it two weeks ago."""
    made = Moving(tmp_path_factory.mktemp("washed") / "house", PRICES)
    account(
        made, "ira", ("2021-01-04", "buy", "XOM", 100, 50), ("2026-02-23", "buy", "XOM", 300, 100),
        ("2021-01-04", "buy", "JPM", 75, 100), kind="traditional_ira",
    )  # fmt: skip
    account(
        made,
        "joint",
        ("2024-01-04", "buy", "XOM", 300, 120),
        ("2021-01-04", "buy", "JPM", 75, 100),
        more='relief = "on_order"',
    )
    made.portfolio += '\n[targets]\n"XOM sector" = 0.40\n"JPM sector" = 0.60\n'
    made.policy = made.portfolio
    made.run(AS_OF)
    assert not made.ask("FROM core.breaks")
    return made


def test_a_loss_that_an_ira_has_washed_is_not_sold_and_the_ira_sells_instead(washed):
    clean = PLAIN + LOOSE + "max_washed_usd = 1000000\nmax_permanent_usd = 1000000\n"
    assert ("joint", "sell", "XOM") in dollars_of(proposals(washed, clean)), (
        "a loss is sold first where nothing bars it"
    )
    trades = dollars_of(proposals(washed, PLAIN + LOOSE))
    assert trades == {("ira", "sell", "XOM"): 28_061, ("ira", "buy", "JPM"): 27_500}
    with books(washed, PLAIN + LOOSE + SLEEVE.format("bands")) as (warehouse, day):
        list(bands(warehouse, day))
        [left] = warehouse.rows(
            "SELECT reason FROM core.left_alone WHERE account_id = 'joint' AND asset_class = 'XOM sector'"
        )["reason"]
    assert "$5,612.24 of loss would be disallowed, $5,612.24 of it for good" in left and "Rev. Rul. 2008-5" in left


# Settings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            '[[withdrawals]]\naccount = "nobody"\non = 2026-03-16\namount_usd = 1\n',
            "accounts that are not listed: nobody",
        ),
        ('[preferred]\nGold = ["GLD"]\n', "names what .targets. does not: Gold"),
        ("[bands]\nvolatility_range = [1.2, 2]\n", "two factors around 1"),
        ('[bands]\ntrade_back = "middle"\n', "'target', 'half' or 'edge'"),
        ('[bands]\nlook = "yearly"\n', "'daily', 'weekly' or 'biweekly'"),
    ],
)
def test_a_policy_that_is_wrong_is_refused_by_name(house, text, fault):
    house.portfolio = house.policy + "\n" + text
    with pytest.raises(SettingsError, match=fault):
        house.settings()
