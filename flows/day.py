"""One run's day: what every station is told, and nothing else."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flows.accounts import Account, Prices
from flows.calendar import next_session, opens
from flows.connectors import Bank, Broker, Market
from flows.connectors.banks.files import FileBank
from flows.connectors.brokers.simulated import PriceTable, Simulated
from flows.connectors.brokers.statements import Statements
from flows.connectors.formats.gathered import Source
from flows.connectors.markets.folder import FolderMarket
from flows.connectors.markets.skfolio import SkfolioMarket
from flows.settings import Settings
from transforms.law import TaxYear, tax_year
from warehouse.law import law_rows


class Clock(NamedTuple):
    """The time that goes by while orders are worked. `now` is UTC without a time zone."""

    now: Callable[[], datetime]
    sleep: Callable[[float], None]


REAL = Clock(lambda: datetime.now(UTC).replace(tzinfo=None), time.sleep)


class Day(NamedTuple):
    """`as_of` is the last completed session, `known_at` (UTC) the moment that what is new in this run is known from.

    Omits    replaying an earlier `known_at`: the newest version of every transaction counts.
    """

    settings: Settings
    as_of: date
    known_at: datetime
    run_id: str
    clock: Clock = REAL
    stopped: str = ""  # who has stopped trading, besides the file STOP; empty: nobody
    quotes: Mapping[str, Decimal] | None = None  # live prices, USD a share, where the market has them

    def now_at(self, account: Account) -> datetime:
        """The time at the account's broker, UTC: a simulated one trades in the session after `as_of`, whenever that was."""
        return opens(next_session(self.as_of)) if account.broker == "simulated" else self.clock.now()

    @property
    def today(self) -> date:
        return self.known_at.date()

    def law(self, year: int) -> TaxYear:
        return _law(year, self.settings.portfolio.household.filing_status)

    def market(self) -> Market:
        return _market(self.settings.portfolio.prices, self.settings.portfolio_file.parent)

    def broker(self, account: Account) -> Broker:
        """The account's connector. A library that only it needs is imported when it is asked for."""
        if account.broker == "alpaca":
            from flows.connectors.brokers.alpaca import AlpacaBroker

            return AlpacaBroker(account)
        if account.broker == "ibkr":
            from flows.connectors.brokers.ibkr import IbkrBroker

            return IbkrBroker(account)
        activities = self.settings.beside(account.activities or "")
        if account.broker == "statements":
            source = Source(account.id, activities, account.format, account.number, self.settings.portfolio.formats)
            held = self.settings.beside(account.positions) if account.positions else None
            return Statements(source, held, self.today)
        prices = self.settings.portfolio.prices
        return Simulated(
            account.id, activities, self.settings.home / "simulated-orders.jsonl",
            _price_table(prices, self.settings.portfolio_file),
            self.today, takes_lots=account.relief == "on_order",
            takes_lots_until=account.identify_by if account.relief == "after_trade" else None,
            simulation=account.simulation, as_of=self.as_of,
        )  # fmt: skip

    def banks(self) -> list[Bank]:
        own = self.settings.portfolio.formats
        return [
            FileBank(Source(bank.id, self.settings.beside(bank.lines), bank.format, bank.number, own), self.today)
            for bank in self.settings.portfolio.banks
        ]


def day_of(settings: Settings, as_of: date, known_at: datetime, clock: Clock = REAL, stopped: str = "") -> Day:
    return Day(settings, as_of, known_at, f"{known_at:%Y%m%dT%H%M%S%f}", clock, stopped)


@cache
def _law(year: int, filing_status: str) -> TaxYear:
    return tax_year(law_rows(), year, filing_status)


def _market(prices: Prices, beside: Path) -> Market:
    if prices.source == "folder":
        return FolderMarket(beside / (prices.folder or ""))
    if prices.source == "alpaca":
        from flows.connectors.markets.alpaca import AlpacaMarket

        return AlpacaMarket(prices.alpaca, beside / (prices.securities or "securities.csv"))
    if prices.source == "ibkr":
        from flows.connectors.markets.ibkr import IbkrMarket

        return IbkrMarket(prices.ibkr, beside / (prices.securities or "securities.csv"))
    return SkfolioMarket(beside / (prices.securities or "securities.csv"))


@cache
def _price_table(prices: Prices, portfolio_file: Path) -> PriceTable:
    return PriceTable(_market(prices, portfolio_file.parent))
