"""The whole day of a household of a thousand lots, on 25 years of real prices of 550 stocks.

They are in the folder `data/` of THRESHER_TEST_DATA (by default ../shared); without them nothing here can run.
"""

import csv
import os
from collections import defaultdict
from collections.abc import Callable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import pytest

from bench.household import ACCOUNTS, SPAN, household
from flows.connectors.markets.folder import FolderMarket
from flows.daily import daily
from flows.settings import Settings, load
from warehouse.checks import failures
from warehouse.db import reader

ROOT = Path(__file__).parents[1]
PRICES = Path(os.environ.get("THRESHER_TEST_DATA") or ROOT.parent / "shared").absolute() / "data"
AS_OF, NEXT = date(2025, 9, 30), date(2025, 10, 1)
LOTS = 1_000
CENT = Decimal("0.01")
KEPT = ("transactions", "batches", "batch_lines", "intents", "order_events", "refusals", "lot_identifications")

pytestmark = pytest.mark.skipif(
    not list(PRICES.glob("us_stocks_daily_*.parquet")),
    reason=f"no real prices in {PRICES}: THRESHER_TEST_DATA names the folder above it",
)


class RealHouse(NamedTuple):
    """The home of the household after its day."""

    settings: Settings

    def ask(self, query: str) -> list[tuple]:
        with reader(self.settings.snapshot) as warehouse:
            return warehouse.rows(query).rows()

    def history(self) -> list[dict[str, str]]:
        """The rows of every account's file, with the account."""
        rows = []
        for account in ACCOUNTS:
            with (self.settings.home / f"{account.id}.csv").open() as file:
                rows += [{"account_id": account.id, **row} for row in csv.DictReader(file)]
        return rows


@pytest.fixture(scope="module")
def market() -> FolderMarket:
    return FolderMarket(PRICES)


@pytest.fixture(scope="module")
def real(market: FolderMarket, tmp_path_factory: pytest.TempPathFactory) -> RealHouse:
    home = tmp_path_factory.mktemp("real") / "home"
    home.mkdir()
    closes = market.prices(AS_OF - SPAN, AS_OF).rows
    for name, text in household(closes, market.securities().rows, LOTS, AS_OF, seed=7).items():
        (home / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THRESHER_HOME", str(home))
        settings = load(PRICES)
    daily(settings, AS_OF)
    return RealHouse(settings)


def test_every_row_and_every_price_is_taken(real: RealHouse) -> None:
    files = PRICES.glob("us_*_daily_*.parquet")
    there = [pl.scan_parquet(file).filter(pl.col("date") <= AS_OF).select(pl.len()).collect().item() for file in files]
    assert real.ask("SELECT count(*), min(session_on), max(session_on) FROM raw.prices") == [
        (sum(there), date(2000, 1, 3), AS_OF)
    ]
    delivered = "SELECT count(*) FROM stg.transactions WHERE transaction_id NOT LIKE 'fill-%'"
    assert real.ask(delivered) == [(len(real.history()),)]
    for wrong in ("mart.set_aside", "core.unbooked", "core.source_status WHERE NOT is_sound"):
        assert real.ask(f"FROM {wrong}") == []


def test_the_books_balance(real: RealHouse) -> None:
    with reader(real.settings.snapshot) as warehouse:
        assert failures(warehouse, NEXT) == {}
    assert real.ask("FROM core.breaks") == []
    assert 0.8 * LOTS < real.ask("SELECT count(DISTINCT lot_id) FROM core.lots")[0][0] < 1.2 * LOTS
    assert real.ask("SELECT count(*) >= 5 FROM core.wash_sales") == [(True,)]


def test_shares_and_cash_are_what_the_files_and_the_fills_add_up_to(real: RealHouse) -> None:
    shares: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    cash: dict[str, Decimal] = defaultdict(Decimal)
    for row in real.history():
        cash[row["account_id"]] += Decimal(row["amount_usd"])
        assert cash[row["account_id"]] >= 0
        if row["kind"] == "trade":
            shares[row["account_id"], row["symbol"]] += Decimal(row["quantity"]) * (1 if row["side"] == "buy" else -1)
    for account, symbol, side, quantity, amount in real.ask(
        "SELECT account_id, security_id, side, quantity, amount_usd FROM stg.transactions WHERE transaction_id LIKE 'fill-%'"
    ):
        shares[account, symbol] += quantity if side == "buy" else -quantity
        cash[account] += amount
    lots = real.ask("SELECT account_id, security_id, sum(quantity) FROM core.lots GROUP BY ALL")
    assert {(account, symbol): quantity for account, symbol, quantity in lots} == {k: q for k, q in shares.items() if q}
    assert dict(real.ask("SELECT account_id, cash_usd FROM mart.cash")) == cash


def test_what_is_proposed_has_a_replacement_of_its_sector(real: RealHouse, market: FolderMarket) -> None:
    sector = dict(market.securities().rows.select("symbol", "sector").iter_rows())
    found = real.ask("SELECT account_id, security_id, replacement_id FROM core.proposals WHERE NOT is_refused")
    assert len(found) > 5
    sold = {security for _, security, _ in found}
    for _, security, instead in found:
        assert sector[instead] == sector[security]
        assert instead not in sold
    refused = real.ask("SELECT reason FROM core.proposals WHERE is_refused")
    assert refused and all(reason for (reason,) in refused)


def test_orders_fill_in_the_next_session_at_its_close(real: RealHouse, market: FolderMarket) -> None:
    closes = dict(market.prices(NEXT, NEXT).rows.select("symbol", "close_usd").iter_rows())
    fills = real.ask(
        "SELECT security_id, traded_on, price_usd, quantity, amount_usd FROM stg.transactions WHERE transaction_id LIKE 'fill-%'"
    )
    assert len(fills) == real.ask("SELECT count(*) FROM mart.orders WHERE status = 'filled'")[0][0] > 10
    for symbol, on, price, quantity, amount in fills:
        assert on == NEXT
        assert price == Decimal(str(closes[symbol])).quantize(CENT, ROUND_HALF_UP)
        assert abs(amount) == (quantity * price).quantize(CENT, ROUND_HALF_UP)
    harvested = real.ask("SELECT gain_usd < 0 FROM core.disposals WHERE trade_id LIKE 'fill-%'")
    assert harvested and sum(is_loss for (is_loss,) in harvested) > 0.8 * len(harvested)


def test_the_same_day_again_changes_nothing(real: RealHouse) -> None:
    def state() -> list[Any]:
        tables = [*(f"ledger.{name}" for name in KEPT), "core.lots", "core.disposals", "raw.prices", "raw.activities"]
        counted = [real.ask(f"SELECT count(*), bit_xor(hash(t)) FROM {name} AS t") for name in tables]
        return [(real.settings.home / "simulated-orders.jsonl").read_text(), *counted]

    def without_report(station: Callable[..., Any], *given: Any) -> Any:
        return None if station.__name__ == "report" else station(*given)

    before = state()
    daily(real.settings, AS_OF, step=without_report)
    assert state() == before
