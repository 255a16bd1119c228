"""Write the demo household's files: `python -m flows.demo.make`.

The intentions in `story` and `business` become rows at each day's close, rounded to the cent. Nothing is
drawn at random: the same prices give the same files. `household` is pure; only `main` reads and writes.
"""

import csv
import importlib.util
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_UP, ROUND_UP, Decimal
from pathlib import Path

import polars as pl

from flows.demo import business, story
from flows.demo.portfolio import PORTFOLIO

NUMBERS = ["quantity", "price_usd", "fee_usd", "amount_usd"]
COLUMNS = ["id", "at", "kind", "side", "symbol", *NUMBERS, "lots", "note"]
WITHIN_A_DAY = ["deposit", "interest", "dividend", "sell", "buy", "fee", "withdrawal"]
LAST_COMMISSION = date(2019, 10, 6)  # from the next day on, brokers charged nothing for stocks
CENT = Decimal("0.01")


@dataclass
class Row:
    """One line of an account's activity, before it has its id."""

    at: date
    kind: str
    side: str = ""
    symbol: str = ""
    quantity: Decimal | None = None
    price_usd: Decimal | None = None
    fee_usd: Decimal | None = None
    amount_usd: Decimal = Decimal(0)
    lots: str = ""
    note: str = ""

    @property
    def rank(self) -> tuple[date, int]:
        return self.at, WITHIN_A_DAY.index(self.side or self.kind)


@dataclass(frozen=True)
class Market:
    """Closes to the cent, and the sessions they belong to.

    >>> Market({(date(2022, 10, 14), "KO"): Decimal("53.77")}, [date(2022, 10, 14)]).session("2022-10", 12)
    datetime.date(2022, 10, 14)
    """

    close: dict[tuple[date, str], Decimal]
    sessions: list[date] = field(repr=False)

    def session(self, month: str, day: int) -> date:
        """The first session on or after a day of a month."""
        wanted = date.fromisoformat(f"{month}-{day:02}")
        return next(session for session in self.sessions if session >= wanted)


def market(prices: pl.DataFrame) -> Market:
    """A wide frame (`Date` and a column a symbol) as closes to the cent, from 2019 on."""
    recent = prices.filter(pl.col("Date") >= date(2019, 1, 1)).sort("Date")
    rows = recent.unpivot(index="Date", variable_name="symbol", value_name="close").iter_rows()
    close = {(on, symbol): cents(Decimal(repr(price))) for on, symbol, price in rows}
    return Market(close, recent["Date"].to_list())


def household(prices: pl.DataFrame) -> dict[str, str]:
    """Every file of the demo household, by name.

    Shape    prices: `Date` and one column a symbol, adjusted closes
    """
    m = market(prices)
    securities = [re.split(" {2,}", line) for line in table(story.SECURITIES)]
    files = {
        "portfolio.toml": PORTFOLIO,
        "securities.csv": csv_text(["symbol", "name", "sector"], securities),
        "bank.csv": csv_text(business.COLUMNS, business.lines(m.session)),
    }
    for account, letter in story.ACCOUNTS.items():
        files[f"{account}.csv"] = csv_text(COLUMNS, numbered(activity(account, m), letter))
    return files


def activity(account: str, m: Market) -> list[Row]:
    """An account's rows in the order they happened, dividends and interest included."""
    rows = [*cash(account, m), *plans(account, m), *orders(account, m)]
    rows = [*rows, *dividends(rows), *interest(rows, m)]
    return sorted(rows, key=lambda row: row.rank)


def cash(account: str, m: Market) -> Iterator[Row]:
    for line in table(story.CASH):
        owner, kind, first, last, every, day, dollars, note = line.split(maxsplit=7)
        sign = 1 if kind == "deposit" else -1
        for month in months(first, last, int(every)) if owner == account else ():
            yield Row(m.session(month, int(day)), kind, amount_usd=sign * cents(Decimal(dollars)), note=note)


def plans(account: str, m: Market) -> Iterator[Row]:
    for line in table(story.PLANS):
        owner, symbol, first, last, every, dollars = line.split()
        for month in months(first, last, int(every)) if owner == account else ():
            at = m.session(month, 15)
            shares = (Decimal(dollars) / m.close[at, symbol]).quantize(Decimal("0.0001"), ROUND_DOWN)
            yield trade(at, "buy", symbol, shares, m.close[at, symbol], Decimal(0), "", "regular plan")


def orders(account: str, m: Market) -> Iterator[Row]:
    for line in table(story.ORDERS):
        owner, day, side, symbol, shares, lots, note = line.split(maxsplit=6)
        if owner == account:
            at, quantity = date.fromisoformat(day), Decimal(shares)
            price = m.close[at, symbol]
            fee = order_fee(at, side, cents(quantity * price))
            yield trade(at, side, symbol, quantity, price, fee, lots.strip("-"), note.strip("-"))


def trade(at: date, side: str, symbol: str, shares: Decimal, price: Decimal, fee: Decimal, *texts: str) -> Row:
    """A filled order: a purchase costs shares and fee, a sale brings shares less fee; then lots, note.

    >>> trade(date(2022, 10, 14), "buy", "KO", Decimal("10"), Decimal("53.77"), Decimal("4.95")).amount_usd
    Decimal('-542.65')
    """
    gross = cents(shares * price)
    amount = -(gross + fee) if side == "buy" else gross - fee
    return Row(at, "trade", side, symbol, shares, price, cents(fee), amount, *texts)


def order_fee(at: date, side: str, gross: Decimal) -> Decimal:
    """A commission of $4.95 while there were any, and on a sale the Section 31 fee, up to the next cent.

    >>> order_fee(date(2022, 6, 7), "sell", Decimal("7318.00"))
    Decimal('0.17')
    """
    commission = Decimal("4.95") if at <= LAST_COMMISSION else Decimal(0)
    rates = [rate for start, rate in story.SECTION_31.items() if date.fromisoformat(start) <= at]
    section_31 = (gross * Decimal(rates[-1]) / 1_000_000).quantize(CENT, ROUND_UP) if side == "sell" else 0
    return commission + section_31


def dividends(rows: list[Row]) -> Iterator[Row]:
    """Declared dividends on the shares held before the ex-dividend day. They are not cash: see the note."""
    for line in table(story.DIVIDENDS):
        symbol, ex, paid, rate = line.split()
        shares = held(rows, symbol, before=date.fromisoformat(ex))
        if shares:
            amount = cents(shares * Decimal(rate))
            yield Row(date.fromisoformat(paid), "dividend", symbol=symbol, amount_usd=amount,
                      note="inside the adjusted price")  # fmt: skip


def interest(rows: list[Row], m: Market) -> Iterator[Row]:
    """A month's interest on the cash of the day, dividends aside; too small to compound."""
    for month, rate in story.SWEEP.items():
        at = m.session(f"2022-{month:02}", 13)
        balance = sum(row.amount_usd for row in rows if row.kind != "dividend" and row.at <= at)
        amount = cents(balance * Decimal(rate) / 12)
        if amount > 0:
            yield Row(at, "interest", amount_usd=amount, note="money-market sweep")


def held(rows: list[Row], symbol: str, before: date) -> Decimal:
    trades = [row for row in rows if row.kind == "trade" and row.symbol == symbol and row.at < before]
    signed = (row.quantity if row.side == "buy" else -row.quantity for row in trades if row.quantity)
    return sum(signed, Decimal(0))


def numbered(rows: list[Row], letter: str) -> Iterator[list[str]]:
    """Rows with their ids, and lots named by the id of the purchase instead of its day."""
    ids = [f"{letter}-{n:04}" for n in range(1, len(rows) + 1)]
    named = list(zip(ids, rows, strict=True))
    bought = {(row.symbol, row.at.isoformat()): row_id for row_id, row in named if row.side == "buy"}
    for row_id, row in named:
        parts = [part.split(":") for part in row.lots.split(";") if part]
        lots = ";".join(f"{bought[row.symbol, day]}:{shares}" for day, shares in parts)
        numbers = [getattr(row, name) for name in NUMBERS]
        texts = ["" if number is None else f"{number:f}" for number in numbers]
        yield [row_id, row.at.isoformat(), row.kind, row.side, row.symbol, *texts, lots, row.note]


def months(first: str, last: str, every: int) -> Iterator[str]:
    """Months from first to last, every so many.

    >>> list(months("2019-11", "2020-03", 2))
    ['2019-11', '2020-01', '2020-03']
    """
    start, end = (int(month[:4]) * 12 + int(month[5:]) - 1 for month in (first, last))
    return (f"{n // 12}-{n % 12 + 1:02}" for n in range(start, end + 1, every))


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def table(text: str) -> list[str]:
    return text.strip().splitlines()


def csv_text(columns: list[str], rows: Iterable[list[str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()


def bundled_prices() -> pl.DataFrame:
    """skfolio's S&P 500 set, found without importing skfolio (which would import scikit-learn)."""
    spec = importlib.util.find_spec("skfolio")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the demo is made from the prices bundled with skfolio: install it")
    file = Path(spec.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
    return pl.read_csv(file, try_parse_dates=True)


def main() -> None:
    for name, text in household(bundled_prices()).items():
        (Path(__file__).parent / name).write_text(text)


if __name__ == "__main__":
    main()
