"""One run's day: what every station is told, and nothing else."""

from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple

from flows.connectors import Bank, Broker, Market
from flows.connectors.banks.csv import CsvBank
from flows.connectors.brokers.simulated import PriceTable, Simulated
from flows.connectors.brokers.statements import Statements
from flows.connectors.markets.folder import FolderMarket
from flows.connectors.markets.skfolio import SkfolioMarket
from flows.settings import Account, Prices, Settings
from transforms.law import TaxYear, tax_year
from warehouse.law import law_rows


class Day(NamedTuple):
    """`as_of` is the last completed session, `known_at` (UTC) the moment that what is new in this run is known from.

    Omits    replaying an earlier `known_at`: the newest version of every transaction counts.
    """

    settings: Settings
    as_of: date
    known_at: datetime
    run_id: str

    @property
    def today(self) -> date:
        return self.known_at.date()

    def law(self, year: int) -> TaxYear:
        return _law(year, self.settings.portfolio.household.filing_status)

    def market(self) -> Market:
        return _market(self.settings.portfolio.prices, self.settings.portfolio_file.parent)

    def broker(self, account: Account) -> Broker:
        activities = self.settings.beside(account.activities)
        if account.broker == "statements":
            return Statements(account.id, activities, self.settings.beside(account.positions or ""), self.today)
        prices = self.settings.portfolio.prices
        return Simulated(
            account.id, activities, self.settings.home / "simulated-orders.jsonl",
            _price_table(prices.source, prices.folder, self.settings.portfolio_file),
            self.today, takes_lots=account.relief == "on_order",
            takes_lots_until=account.identify_by if account.relief == "after_trade" else None,
        )  # fmt: skip

    def banks(self) -> list[Bank]:
        banks = self.settings.portfolio.banks
        return [CsvBank(bank.id, self.settings.beside(bank.lines), self.today) for bank in banks]


def day_of(settings: Settings, as_of: date, known_at: datetime) -> Day:
    return Day(settings, as_of, known_at, f"{known_at:%Y%m%dT%H%M%S%f}")


@cache
def _law(year: int, filing_status: str) -> TaxYear:
    return tax_year(law_rows(), year, filing_status)


def _market(prices: Prices, beside: Path) -> Market:
    if prices.source == "folder":
        return FolderMarket(beside / (prices.folder or ""))
    return SkfolioMarket(beside / (prices.securities or "securities.csv"))


@cache
def _price_table(source: str, folder: str | None, portfolio_file: Path) -> PriceTable:
    prices = Prices(source=source, folder=folder)  # type: ignore[arg-type]
    return PriceTable(_market(prices, portfolio_file.parent))
