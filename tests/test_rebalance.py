"""The methods `bands` and `cash_flow` on a small household: what they propose, what they leave and why."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal
from math import sin

import polars as pl
import pytest
from conftest import _without_report
from small import Small

from flows.daily import daily
from flows.day import Day, day_of
from flows.household import choices, household
from flows.measure import class_histories, measure
from flows.pre_trade import known
from flows.rebalance import _made, bands, cash_flow
from flows.settings import SettingsError
from transforms.orders.arbiter import Proposed
from transforms.portfolio.bands import CASH
from transforms.tables import core
from warehouse.db import Warehouse, writer

D = Decimal
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


def test_what_the_bands_sell_stays_in_cash_as_far_as_cash_is_short_of_its_target(house, monkeypatch):
    halves = dict(re.findall(r'"(.*)" = (.*)', TARGETS))
    policy = house.policy.replace(
        TARGETS,
        "\n[targets]\nCash = 0.5\n" + "".join(f'"{name}" = {float(of) / 2}\n' for name, of in halves.items()),
    )
    monkeypatch.setattr(house, "policy", policy)
    trades = proposals(house, PLAIN + 'trade_back = "target"\n' + LOOSE)
    assert dollars_of(trades) == {("ira", "sell", "XOM"): 10_000, ("joint", "sell", "XOM"): 28_265}, (
        "less 2 % they are the 37,500 that cash is short of"
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
    others = dollars_of(proposals(house, PLAIN + LOOSE + FREE + jpm))
    assert "JPM" not in {security for _, _, security in others} and others["joint", "buy", "ABT"] == 12_250, (
        "all the cash"
    )
    xom = '\n[[sleeves]]\nname = "xom"\nmethod = "none"\nsecurities = ["XOM"]\n'
    assert {side for _, side, _ in dollars_of(proposals(house, PLAIN + LOOSE + FREE + xom))} == {"buy"}


def pay(warehouse: Warehouse, day: Day, account_id: str, usd: int, on: date = AS_OF) -> None:
    """Money comes, or goes; drift is measured again."""
    warehouse.run(
        "INSERT INTO ledger.transactions SELECT $id, 1, $account, $kind, '', '', 0, 0, 0, $usd, $on, NULL, '', '', $at, '', '{}'",
        id=f"paid {account_id} {usd} {on}", account=account_id, kind="deposit" if usd > 0 else "withdrawal", usd=usd, on=on, at=NOW,
    )  # fmt: skip
    measure(warehouse, day)


def targeted(house: Moving, **targets: float) -> Moving:
    """The household with other targets."""
    other = Moving.__new__(Moving)
    rows = "".join(f'"{name}{"" if name == CASH else " sector"}" = {weight}\n' for name, weight in targets.items())
    other.__dict__ |= house.__dict__ | {"policy": house.policy.replace(TARGETS, f"\n[targets]\n{rows}")}
    return other


BOTH = """
[[sleeves]]
name = "ira"
method = "{}"
accounts = ["ira"]
[[sleeves]]
name = "joint"
method = "{}"
accounts = ["joint"]
"""


@pytest.mark.parametrize("methods", [("bands", "cash_flow"), ("cash_flow", "bands")])
def test_two_methods_in_one_household_do_not_both_buy_what_is_missing(house, methods):
    other = targeted(house, XOM=0.58, JPM=0.30, JNJ=0.12)
    with books(other, PLAIN + LOOSE + BOTH.format(*methods)) as (warehouse, day):
        pay(warehouse, day, "ira", 10_000)
        made = {name: list(method(warehouse, day)) for name, method in (("bands", bands), ("cash_flow", cash_flow))}
        both = [trade for trades in made.values() for trade in trades if trade.security_id == "JPM"]
        told = warehouse.rows("SELECT DISTINCT method FROM core.left_alone")["method"].to_list()
    assert told == ["bands"], "one of them tells what was left alone"
    assert {t.account_id: t.method for t in both} == {"ira": methods[0], "joint": methods[1]}
    assert sum(t.quantity * t.price_usd for t in both) == pytest.approx(13_000, abs=1), "30 % of 110,000 less 20,000"
    assert all(t.method == name for name, trades in made.items() for t in trades)


def test_bands_sell_nothing_for_what_is_another_sleeves_to_buy(house):
    jpm = '\n[[sleeves]]\nname = "jpm"\nmethod = "cash_flow"\nsecurities = ["JPM"]\n'
    with books(house, PLAIN + LOOSE + jpm + SLEEVE.format("bands")) as (warehouse, day):
        assert list(bands(warehouse, day)) == [], "JNJ is barred, and JPM is not theirs"
        assert dollars_of(list(cash_flow(warehouse, day))) == {("joint", "buy", "JPM"): 12_250}


def test_where_what_is_furthest_above_may_not_be_sold_the_next_is(house):
    """XOM is 10,000 above and locked; JNJ is still 12,250 below when the cash is spent, and JPM 2,000 above, in its band."""
    other = targeted(house, XOM=0.50, JPM=0.18, JNJ=0.32)
    found = dollars_of(proposals(other, PLAIN + LOOSE + 'do_not_trade = ["XOM"]\n' + FREE))
    assert found["joint", "sell", "JPM"] == 2_000 and found["joint", "buy", "ABT"] == 12_250 + 1_960


def test_cash_of_an_account_that_another_trades_is_a_part_of_the_households_cash(house):
    other = targeted(house, XOM=0.30, JPM=0.40, JNJ=0.20, Cash=0.10)
    none = '\n[[sleeves]]\nname = "ira"\nmethod = "none"\naccounts = ["ira"]\n'
    with books(other, LOOSE + none + SLEEVE.format("cash_flow")) as (warehouse, day):
        pay(warehouse, day, "ira", 10_000)
        found = dollars_of(list(cash_flow(warehouse, day)))
    assert found == {("joint", "buy", "JPM"): 11_270}, "11,000 are wanted and 10,000 are in the IRA: 11,500 less 2 %"


def test_each_purchase_with_cash_and_each_sale_for_a_withdrawal_stands_by_itself(house):
    trades = proposals(targeted(house, XOM=0.55, JPM=0.25, JNJ=0.20), LOOSE + FREE, "cash_flow")
    assert {t.security_id for t in trades} == {"JPM", "ABT"} and len({t.proposal for t in trades}) == 2
    assert trades[0].reason.startswith("JPM sector 20.0% against 25.0%; $") or trades[1].reason.startswith("JPM sector")


def test_a_withdrawal_leaves_the_household_at_its_targets(house):
    """By hand: all is at its target; 40,000 leave, so the targets are of 60,000: XOM 24,000 above, JPM 8,000.

    27,500 are missing, 28,061.22 are sold for it with the cushion; what both are above their targets is level after it.
    """
    other = targeted(house, XOM=0.60, JPM=0.20, JNJ=0.075, Cash=0.125)
    planned = '\n[[withdrawals]]\naccount = "joint"\non = 2026-03-12\namount_usd = 40000\n'
    assert dollars_of(proposals(other, LOOSE + planned, "cash_flow")) == {
        ("joint", "sell", "XOM"): 22_031, ("joint", "sell", "JPM"): 6_031,
    }  # fmt: skip


def test_money_that_leaves_soon_is_neither_invested_nor_made_up_for_by_sales(house):
    """12,500 of cash, 10,000 leave: of the 90,000 that stay cash is wanted to be 2,500, and is; no band is left."""
    other = targeted(house, XOM=0.66, JPM=0.22, JNJ=0.0922, Cash=0.0278)
    planned = '\n[[withdrawals]]\naccount = "joint"\non = 2026-03-12\namount_usd = 10000\n'
    assert proposals(other, PLAIN + LOOSE + FREE + planned) == []


def test_a_withdrawal_that_was_made_early_is_not_raised_again(house):
    planned = '\n[[withdrawals]]\naccount = "ira"\non = 2026-03-12\namount_usd = 4900\n'
    with books(house, LOOSE + planned + SLEEVE.format("cash_flow")) as (warehouse, day):
        pay(warehouse, day, "ira", 4900, date(2026, 3, 5))
        assert ("ira", "sell", "XOM") not in dollars_of(list(cash_flow(warehouse, day))), "its money is there"
        pay(warehouse, day, "ira", -4900, date(2026, 3, 6))
        assert ("ira", "sell", "XOM") not in dollars_of(list(cash_flow(warehouse, day))), (
            "and now it is gone, as planned"
        )


def test_a_withdrawal_on_a_day_without_a_session_is_raised_on_the_session_before(house):
    planned = '\n[cash_flow]\nlead_days = 0\n[[withdrawals]]\naccount = "ira"\non = 2026-03-14\namount_usd = 100\n'
    with books(house, planned) as (warehouse, day):
        due_on = {
            on: [one.on for one in household(warehouse, day._replace(as_of=on - timedelta(days=1))).withdrawals]
            for on in (date(2026, 3, 12), date(2026, 3, 13))
        }
    assert due_on == {date(2026, 3, 12): [], date(2026, 3, 13): [date(2026, 3, 14)]}, "a Saturday, on Friday"


def test_money_that_is_not_raised_is_said_with_the_reason(house):
    planned = '\n[[withdrawals]]\naccount = "{}"\non = 2026-03-12\namount_usd = 30000\n'

    def said(policy: str) -> list[tuple]:
        with books(house, policy) as (warehouse, day):
            list(cash_flow(warehouse, day))
            return warehouse.rows(
                "SELECT account_id, value_usd, reason FROM core.left_alone WHERE asset_class = 'Cash'"
            ).rows()

    [(account, usd, reason)] = said(LOOSE + planned.format("ira") + SLEEVE.format("cash_flow"))
    assert (account, usd) == ("ira", 12_500) and "the withdrawal of $30,000 on 2026-03-12" in reason
    tight = LOOSE.replace("max_order_weight = 1\n", "max_order_weight = 0.1\n")
    [(_, _, reason)] = said(tight + planned.format("joint") + SLEEVE.format("cash_flow"))
    assert "XOM: an order of the account may not be larger (gates.max_order_weight)" in reason
    none = '\n[[sleeves]]\nname = "ira"\nmethod = "none"\naccounts = ["ira"]\n'
    [(account, usd, reason)] = said(LOOSE + planned.format("ira") + none + SLEEVE.format("cash_flow"))
    assert (account, usd) == ("ira", 30_000) and reason.endswith("no sleeve of bands or cash_flow has a part in it")
    assert said(LOOSE + planned.format("ira").replace("30000", "9000") + SLEEVE.format("cash_flow")) == []


def test_a_household_that_is_worth_nothing_trades_nothing_and_says_what_it_lacks(house):
    with books(house, LOOSE + SLEEVE.format("bands")) as (warehouse, day):
        pay(warehouse, day, "joint", -100_000)
        assert warehouse.value("SELECT sum(value_usd) FROM core.drift") == 0
        assert list(bands(warehouse, day)) == []
        [(usd, reason)] = warehouse.rows(
            "SELECT value_usd, reason FROM core.left_alone WHERE asset_class = 'Cash'"
        ).rows()
    assert usd == 87_500 and reason.startswith(
        "of $87,500 that is missing for what is overdrawn so much is not raised today"
    )


def test_what_is_barred_from_being_swapped_may_still_be_sold_for_a_withdrawal(house):
    planned = '\n[[withdrawals]]\naccount = "ira"\non = 2026-03-12\namount_usd = 4900\n'
    with books(house, PLAIN + LOOSE + FREE + planned + SLEEVE.format("bands")) as (warehouse, day):
        seen, there = known(warehouse, day, NEXT), household(warehouse, day)
        made = _made(there, day, seen, {("ira", "XOM", "swap"): "not worth it"}, looks=True)
    assert [one.account_id for one in made.withdrawn] == ["ira"] and {one.account_id for one in made.swapped} == {
        "joint"
    }
    assert "not worth it" in {one.reason for one in made.desk.left_alone}


def test_what_is_owed_is_not_bought_as_if_it_were_held(house):
    with books(house, SLEEVE.format("bands")) as (warehouse, day):
        there = household(warehouse, day)._replace(positions_usd={"JNJ": D(-5), "ABT": D(1)})
        assert choices(there, day, lambda *_: "")["joint", "JNJ sector"] == ["ABT"]


def test_what_has_no_fresh_price_is_not_bought_though_nobody_holds_it(house):
    with books(house, PLAIN + LOOSE + FREE + SLEEVE.format("bands")) as (warehouse, day):
        warehouse.run("UPDATE core.latest_prices SET sessions_old = 9 WHERE security_id = 'ABT'")
        assert "ABT" not in {t.security_id for t in bands(warehouse, day)}


def test_a_class_without_a_history_does_not_free_the_others_from_being_weighed(house):
    """Nothing of CVX sector is held, so nobody can tell its risk; XOM is weighed all the same, and its gain not realised."""
    other = targeted(house, XOM=0.40, JPM=0.35, JNJ=0.20, CVX=0.05)
    trades = proposals(other, "\n[bands]\nrisk_aversion = 0.5\n" + LOOSE + FREE)
    assert {t.account_id for t in trades if t.side == "sell"} == {"ira"}
    assert all("less drift is worth" in t.reason for t in trades if t.side == "sell")


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


def test_a_band_follows_the_last_quarter_against_what_is_usual(house):
    policy = "\n[bands]\nby_volatility = true\nvolatility_range = [0.01, 100]\nlookback_sessions = 90\n"
    with books(house, policy) as (warehouse, day):
        width = dict(warehouse.rows("SELECT asset_class, band FROM core.drift").iter_rows())
        moves = class_histories(warehouse, day, {"XOM sector": 0.4, "JPM sector": 0.4, "JNJ sector": 0.2}, 90)
    usual = sum(
        weight * moves[f"{name} sector"].std(ddof=1) for name, weight in (("XOM", 0.4), ("JPM", 0.4), ("JNJ", 0.2))
    )
    quarter = moves["JPM sector"][-63:]
    assert len(moves["JPM sector"]) == 90 and abs(quarter.std() / moves["JPM sector"].std() - 1) > 1e-4
    assert width["JPM sector"] == pytest.approx(0.05 * quarter.std(ddof=1) / usual)


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


def test_a_holding_that_is_too_small_for_an_order_is_left_and_another_of_its_class_is_sold(tmp_path):
    made = Moving(tmp_path / "house", PRICES)
    listed = made.home / "prices" / "securities.csv"
    listed.write_text(listed.read_text().replace("CVX sector", "XOM sector"))
    account(
        made, "ira", ("2021-01-04", "buy", "CVX", 2, 50), ("2021-01-04", "buy", "XOM", 600, 50),
        ("2021-01-04", "buy", "JPM", 199.5, 100), kind="traditional_ira",
    )  # fmt: skip
    made.portfolio += '\n[targets]\n"XOM sector" = 0.40\n"JPM sector" = 0.60\n'
    made.policy = made.portfolio
    made.run(AS_OF)
    found = dollars_of(proposals(made, PLAIN + LOOSE))
    assert found == {("ira", "sell", "XOM"): 17_959, ("ira", "buy", "JPM"): 17_600}, "JPM to 57.5 %, and the cushion"
    with books(made, PLAIN + LOOSE + SLEEVE.format("bands")) as (warehouse, day):
        list(bands(warehouse, day))
        [left] = warehouse.rows("SELECT reason FROM core.left_alone WHERE security_id = 'CVX'")["reason"]
    assert left == "what would be sold of it is less than $250 (cash_flow.min_trade_usd)"


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
