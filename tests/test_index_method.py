"""The method `index` on a small household: what it buys, what it harvests, what it leaves alone and why."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from decimal import Decimal

import numpy as np
import polars as pl
import pytest
from conftest import _without_report
from small import Small

from flows.daily import daily
from flows.day import Day, day_of
from flows.index import index
from flows.settings import SettingsError
from transforms.orders.arbiter import Proposed
from warehouse.db import Warehouse, writer

AS_OF = date(2026, 3, 6)
NOW = datetime(2026, 3, 6, 22)
COUNT, SECTORS = 20, 4
NAMES = [f"N{at:02}" for at in range(COUNT)]
PRICES = {name: 20.0 + 4 * at for at, name in enumerate(NAMES)}
WEIGHT = {name: 0.2 / (at + 1) for at, name in enumerate(NAMES)}
TOTAL = sum(WEIGHT.values())
RELIEF = 'relief = "on_order"'
FOLLOW = '\n[[sleeves]]\nname = "index"\nmethod = "index"\naccounts = ["joint"]\n[index]\nconstituents = "index.csv"\n'


class Market(Small):
    """Twenty names that move with one market and four sectors for two years, drawn by a seed, and end where they should."""

    def run(self, as_of: date, **_: object) -> str:
        days = [day for n in range(700, -1, -1) if (day := as_of - timedelta(days=n)).weekday() < 5]
        draw = np.random.default_rng(4)
        moves = 0.008 * draw.normal(size=(len(days), 1)) + 0.004 * draw.normal(size=(len(days), SECTORS))
        returns = moves[:, np.arange(COUNT) % SECTORS] + 0.008 * draw.normal(size=(len(days), COUNT))
        level = np.exp(np.cumsum(returns, axis=0))
        closes = level / level[-1] * np.array(list(self._prices.values()))
        rows = [
            (name, day, float(closes[row, at]), float(closes[row, at]), 1_000_000)
            for at, name in enumerate(self._prices)
            for row, day in enumerate(days)
        ]
        frame = pl.DataFrame(rows, schema=["ticker", "date", "close", "adj_close", "volume"], orient="row")
        frame.write_parquet(self.home / "prices" / "us_x_daily_y.parquet")
        self.done = daily(self.settings(), as_of, step=_without_report)
        return self.done.summary.plain()


def constituents(house: Small, *more: str) -> None:
    rows = [f"{name},,sector {at % SECTORS},industry {at % 8},{WEIGHT[name]}" for at, name in enumerate(NAMES)]
    (house.home / "index.csv").write_text("\n".join(("symbol,name,sector,industry,weight", *rows, *more, "")))


def account(
    house: Small, name: str, kind: str, cash: float, lots: list[tuple[str, str, float, float]], more: str = ""
) -> None:
    house.account(name, type=kind, owner="joint" if kind == "taxable" else "self", more=more)
    lines = [f"{name}-c,2024-06-03T09:00:00,deposit,,,,,0,{cash:.2f},"]
    held = {"usd": cash}
    for n, (on, security, shares, price) in enumerate(lots):
        lines.append(f"{name}-{n}in,{on}T09:00:00,deposit,,,,,0,{shares * price:.2f},")
        lines.append(f"{name}-{n},{on}T10:00:00,trade,buy,{security},{shares},{price},0,{-shares * price:.2f},")
        held[security] = held.get(security, 0) + shares
    house.says(name, *lines)
    house.holds(name, AS_OF, **{what: f"{count:.10g}" for what, count in held.items()})


def made(
    path, cash: float, lots: list[tuple[str, str, float, float]], ira: list[tuple[str, str, float, float]], more: str
):
    house = Market(path / "house", PRICES)
    account(house, "joint", "taxable", cash, lots, more)
    account(house, "ira", "traditional_ira", 1.0, ira)
    house.policy = house.portfolio
    constituents(house)
    house.run(AS_OF)
    assert not house.ask("FROM core.breaks")
    return house


@pytest.fixture(scope="module")
def cash(tmp_path_factory):
    """$100,000 and nothing else."""
    return made(tmp_path_factory.mktemp("cash"), 100_000.0, [], [], RELIEF)


def index_lots(but: dict[str, float]) -> list[tuple[str, str, float, float]]:
    """$100,000 in the index, bought a year and a half ago at today's prices, or at another."""
    return [
        ("2024-09-03", name, round(100_000 * WEIGHT[name] / TOTAL / PRICES[name], 4), but.get(name, PRICES[name]))
        for name in NAMES
    ]


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    """The index, with N03, N04 and a young lot of N05 at half of what they cost; the IRA bought N04 two weeks ago."""
    young = ("2025-06-02", "N05", round(1000 / PRICES["N05"], 4), 2 * PRICES["N05"])
    lots = [*index_lots({"N03": 2 * PRICES["N03"], "N04": 2 * PRICES["N04"]}), young]
    return made(tmp_path_factory.mktemp("losses"), 50.0, lots, [("2026-02-20", "N04", 100, 40)], RELIEF)


@contextmanager
def books(house: Small, policy: str, relief: str) -> Iterator[tuple[Warehouse, Day]]:
    """The booked household under another policy; nothing of it is kept."""
    house.portfolio = house.policy.replace(RELIEF, relief) + policy
    with writer(house.settings().warehouse) as warehouse:
        warehouse.run("BEGIN TRANSACTION")
        warehouse._is_in_transaction = True
        try:
            yield warehouse, day_of(house.settings(), AS_OF, NOW)
        finally:
            warehouse.run("ROLLBACK")
            warehouse._is_in_transaction = False


def proposals(house: Small, policy: str, relief: str = RELIEF) -> tuple[list[Proposed], list[tuple[str, str, str]]]:
    with books(house, policy, relief) as (warehouse, day):
        trades = list(index(warehouse, day))
        left = warehouse.rows(
            "SELECT account_id, security_id, reason FROM core.left_alone WHERE method = 'index' ORDER BY ALL"
        )
        return trades, left.rows()


def bought(trades: list[Proposed]) -> dict[str, float]:
    return {t.security_id: float(t.quantity * t.price_usd) for t in trades if t.side == "buy"}


def sold(trades: list[Proposed]) -> set[str]:
    return {t.security_id for t in trades if t.side == "sell"}


def test_cash_becomes_the_index(cash):
    trades, left = proposals(cash, FOLLOW)
    assert left == [] and {t.proposal for t in trades} == {"index joint"}, "one proposal: whole or not at all"
    weights = {name: usd / 100_000 for name, usd in bought(trades).items()}
    assert weights == pytest.approx({name: WEIGHT[name] / TOTAL for name in NAMES}, abs=0.002)
    assert sum(bought(trades).values()) < 100_000
    assert "predicted tracking error at most 0.0" in trades[0].reason and "cap 1.00%" in trades[0].reason


def test_without_a_sleeve_that_asks_for_it_nothing_is_proposed(cash):
    assert proposals(cash, '\n[index]\nconstituents = "index.csv"\n') == ([], [])


def test_what_is_excluded_is_not_bought_and_its_sector_keeps_its_weight(cash):
    trades, _ = proposals(cash, FOLLOW + 'employer = ["N06"]\nexclude = ["N10"]\nmax_tracking_error = 0.03\n')
    usd = bought(trades)
    assert not {"N06", "N10"} & usd.keys()
    sector = [name for at, name in enumerate(NAMES) if at % SECTORS == 2]
    assert sum(usd[name] for name in sector if name in usd) == pytest.approx(
        100_000 * sum(WEIGHT[name] for name in sector) / TOTAL, rel=0.03
    )


def test_exclusions_that_use_up_the_cap_are_refused_with_the_figure(cash):
    trades, [(account, _, reason)] = proposals(cash, FOLLOW + 'exclude_sectors = ["sector 0"]\n')
    assert trades == [] and account == "joint"
    assert "exclusions, tilts and the sample alone have a predicted tracking error of" in reason and "1.00%" in reason


def test_a_sample_holds_no_more_names_than_asked(cash):
    trades, _ = proposals(cash, FOLLOW + "names = 12\nmax_tracking_error = 0.05\n")
    assert 8 <= len(bought(trades)) <= 20
    few, _ = proposals(cash, FOLLOW + "names = 5\nmax_tracking_error = 0.09\nrisk_aversion = 1000\n")
    assert len(bought(few)) == 5


def test_whole_shares_are_whole(cash):
    trades, _ = proposals(cash, FOLLOW, RELIEF + '\nshares = "whole"')
    assert trades and all(t.quantity == int(t.quantity) for t in trades)


def test_a_constituent_without_a_price_is_told_and_left_out(cash):
    constituents(cash, "GONE,Gone Inc.,sector 1,,0.001")
    try:
        trades, left = proposals(cash, FOLLOW)
    finally:
        constituents(cash)
    assert trades and left == [("", "GONE", "has no price: its weight is spread over its sector")]


def test_a_loss_is_harvested_and_one_that_an_ira_would_wash_is_not(losses):
    trades, left = proposals(losses, FOLLOW + "risk_aversion = 1\n")
    assert left == [] and "N03" in sold(trades) and "N03" not in bought(trades)
    assert "N04" not in sold(trades), "the IRA bought it two weeks ago: the loss would be gone for good"
    [sale] = [t for t in trades if t.security_id == "N03"]
    assert (
        sale.loss_usd == pytest.approx(sale.quantity * sale.price_usd, rel=Decimal("0.001")) and sale.tax_saved_usd > 0
    )
    assert sale.lots.startswith("joint-3:")


def test_what_is_sold_stays_within_the_cap(losses):
    dollars = []
    for cap in (0.05, 0.002):
        trades, _ = proposals(losses, FOLLOW + f"risk_aversion = 0\nmax_tracking_error = {cap}\n")
        dollars.append(sum(t.quantity * t.price_usd for t in trades if t.side == "sell"))
    assert 0 < dollars[1] < dollars[0] / 2


def test_a_broker_that_relieves_first_in_first_out_is_asked_for_its_oldest_lot_only(losses):
    """Of N05 the young lot is at a loss, and lies behind one that is not."""
    policy = FOLLOW + "risk_aversion = 0\nmax_tracking_error = 0.05\n"
    lots = {t.lots for t in proposals(losses, policy)[0] if t.security_id == "N05" and t.side == "sell"}
    assert any("joint-20:" in one for one in lots)
    fifo, _ = proposals(losses, policy, 'relief = "fifo_only"')
    assert "N03" in sold(fifo) and not any("joint-20" in t.lots for t in fifo)


def test_settings_that_cannot_be_meant_are_refused(cash):
    def said(policy: str) -> str:
        with pytest.raises(SettingsError) as wrong:
            proposals(cash, policy)
        return str(wrong.value)

    sleeve = '\n[[sleeves]]\nname = "i"\nmethod = "index"\n'
    assert "there is no [index]" in said(sleeve + 'accounts = ["joint"]\n')
    assert "the sleeve i follows the index: name its accounts" in said(sleeve + '[index]\nconstituents = "index.csv"\n')
    assert "nowhere.csv cannot be read" in said(FOLLOW.replace("index.csv", "nowhere.csv"))
    assert "no constituent has the sector 'Enrgy'" in said(FOLLOW + 'exclude_sectors = ["Enrgy"]\n')
    assert "the tilt 'value' needs a column of the constituents file" in said(FOLLOW + "tilts = { value = 0.5 }\n")
    assert "the top 21 of 20 constituents" in said(FOLLOW + "top = 21\n")
