"""Books -> rows of core: the household's own, what the brokers will report beside them, and the lots that were meant.

Both views come from the same events through the same engine; where they differ, a row says so.
"""

from collections.abc import Iterable
from datetime import date
from fractions import Fraction

import polars as pl

from flows.day import Day
from flows.ledger import Ledger
from transforms import tables
from transforms.exact import shares, usd
from transforms.harvest.benefit import Rates, rates
from transforms.harvest.candidates import cents
from transforms.lots.average import averaged
from transforms.lots.broker_view import broker_books
from transforms.lots.divergence import Intended, divergences, picks_text
from transforms.lots.methods import Asked
from transforms.lots.relief import read_picks
from transforms.lots.rules import Rules
from transforms.lots.term import is_provisional, long_term_from
from transforms.model import Books, Disposal, Event, Trade
from transforms.tax.form_8949 import box
from transforms.tax.reported import reported
from warehouse.db import Warehouse
from warehouse.law import law_date


def book_rows(
    warehouse: Warehouse, day: Day, ledger: Ledger, books: Books, law: Rules, until: date
) -> dict[str, pl.DataFrame]:
    """The frames of core that follow from the books, by table."""
    window, kinds = law.window_days, dict(warehouse.rows("SELECT security_id, kind FROM stg.securities").iter_rows())
    at_brokers = broker_books(ledger.as_brokers_see_it, law)
    theirs = at_brokers.disposals
    return {
        "lots": _lots("lots", day, books, kinds),
        "broker_lots": _lots("broker_lots", day, at_brokers, kinds),
        "disposals": tables.core("disposals", _disposals(books.disposals, window, until)),
        "wash_sales": _wash_sales(books),
        "broker_disposals": tables.core("broker_disposals", _disposals(theirs, window, until)),
        "reported_sales": _reported(kinds, ledger.events, books.disposals, theirs, window, until),
        "intended_sales": _intended(day, ledger, books, law, until),
        "identifications": _identifications(ledger),
    }


class _Slices:
    """Numbers the slices of each key: 1, 2, ..."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, ...], int] = {}

    def next(self, *key: str) -> int:
        self._last[key] = self._last.get(key, 0) + 1
        return self._last[key]


def _lots(table: str, day: Day, books: Books, kinds: dict[str, str]) -> pl.DataFrame:
    slices = _Slices()
    averaging = {account.id for account in day.settings.portfolio.accounts if account.relief == "average"}
    held = {(lot.account_id, lot.security_id) for lot in books.lots if lot.account_id in averaging}
    rows = [
        (
            lot.lot_id, slices.next(lot.account_id, lot.security_id, lot.lot_id), lot.account_id, lot.security_id,
            shares(lot.quantity), lot.acquired_on, lot.holding_since, long_term_from(lot.holding_since), usd(lot.basis),
            lot.is_deferred,
        )
        for lot in averaged(books.lots, {key for key in held if kinds.get(key[1]) == "fund"})
    ]  # fmt: skip
    return tables.core(table, rows)


def _wash_sales(books: Books) -> pl.DataFrame:
    rows = [
        (
            row.trade_id, row.sold_lot_id, row.replacement_lot_id, shares(row.quantity), usd(row.disallowed),
            usd(row.permanent), row.days, row.citation, row.rule, shares(row.replacement_quantity),
        )
        for row in books.wash_sales
    ]  # fmt: skip
    return tables.core("wash_sales", rows)


def _disposals(rows: Iterable[Disposal], window: int, until: date) -> list[tuple]:
    slices = _Slices()
    return [
        (
            row.trade_id, row.lot_id, slices.next(row.trade_id), row.account_id, row.security_id, shares(row.quantity),
            row.acquired_on, row.holding_since, row.sold_on, usd(row.proceeds), usd(row.basis),
            "W" if row.disallowed else "", usd(row.disallowed), usd(row.permanent), usd(row.gain), row.term,
            is_provisional(row.proceeds < row.basis, row.sold_on, window, until),
        )
        for row in rows
    ]  # fmt: skip


def _reported(
    kinds: dict[str, str],
    events: Iterable[Event],
    own: list[Disposal],
    theirs: list[Disposal],
    window: int,
    until: date,
) -> pl.DataFrame:
    """Every sale beside what the broker reports; whether it reports a basis depends on what was sold and since when held."""
    kinds = kinds | {
        event.security_id: "option" for event in events if isinstance(event, Trade) and event.option is not None
    }
    covered = {
        kind: law_date(f"covered_since{suffix}")
        for kind, suffix in (
            ("security", ""),
            ("fund", "_fund"),
            ("option", "_option"),
            ("digital_asset", "_digital_asset"),
        )
    }
    digital_since = law_date("digital_assets_reported_since")

    def is_covered(row: Disposal) -> bool:
        return row.acquired_on >= covered.get(kinds.get(row.security_id, ""), covered["security"])

    def form(row: Disposal) -> str:
        if kinds.get(row.security_id) != "digital_asset":
            return "1099-B"
        return "1099-DA" if row.sold_on >= digital_since else ""

    slices = _Slices()
    rows = [
        (
            sold.trade_id, slices.next(sold.trade_id), sold.lot_id, one.theirs.lot_id, sold.account_id, sold.security_id,
            shares(one.quantity), sold.acquired_on, sold.sold_on, usd(one.proceeds), usd(one.filed_basis), one.code,
            usd(one.adjustment), usd(one.permanent), usd(one.gain), sold.term,
            is_provisional(sold.proceeds < sold.basis, sold.sold_on, window, until), one.is_reported,
            box(sold.term, form(sold), is_reported=one.is_reported), usd(one.basis), usd(one.disallowed),
            usd(one.broker_basis), usd(one.broker_disallowed), one.theirs.term, one.note,
        )
        for one in reported(own, theirs, is_covered)
        for sold in (one.own,)
    ]  # fmt: skip
    return tables.core("reported_sales", rows)


def _intended(day: Day, ledger: Ledger, books: Books, law: Rules, until: date) -> pl.DataFrame:
    """The sales of two tax years whose lots we meant: named by a decision, or by the method of the account."""
    household, accounts = day.settings.portfolio.household, {a.id: a for a in day.settings.portfolio.accounts}
    waiting = {told.sale.trade_id for told in ledger.told if not told.said.how}

    def rate(year: int) -> Rates:
        return rates(day.law(year), household.taxable_income_usd, household.state_rate)

    meant: dict[str, Intended] = {}
    for event in ledger.events:
        if not isinstance(event, Trade) or event.is_buy or event.is_short or event.is_deferred or event.option:
            continue
        if event.traded_on.year < until.year - 1:
            continue
        account, name = accounts[event.account_id], event.trade_id
        if name in ledger.meant:
            meant[name] = Intended(read_picks(ledger.meant[name]), "named", None)
        elif account.method or name in waiting:
            by_term = rate(event.traded_on.year)
            price = Fraction(event.amount * 10**7, event.quantity)
            asked = Asked(event.traded_on, price, {"short": by_term.short, "long": by_term.long})
            meant[name] = Intended((), account.intends, asked)
    rows = []
    for one in divergences(ledger.events, meant, books.disposals, law, day.settings.portfolio.groups):
        sale, was, could = one.sale, one.relieved, one.intended or one.relieved
        by_term = rate(sale.traded_on.year)
        costs = (
            usd(was.short_gain - could.short_gain) * by_term.short + usd(was.long_gain - could.long_gain) * by_term.long
        )
        rows.append(
            (
                sale.trade_id, sale.account_id, sale.security_id, sale.traded_on, shares(sale.quantity), one.method,
                picks_text(tuple(sorted(one.meant))), picks_text(tuple(sorted(was.lots))), one.intended is not None,
                usd(could.basis), usd(was.basis), usd(could.short_gain), usd(could.long_gain), usd(was.short_gain),
                usd(was.long_gain), cents(costs),
            )
        )  # fmt: skip
    return tables.core("intended_sales", rows)


def _identifications(ledger: Ledger) -> pl.DataFrame:
    rows = [
        (
            one.sale.trade_id, one.sale.account_id, one.sale.security_id, one.sale.traded_on, shares(one.sale.quantity),
            one.said.lots, one.said.how, one.said.identified_at, one.deadline, one.is_in_time, one.is_followed, one.note,
        )
        for one in ledger.told
    ]  # fmt: skip
    return tables.core("identifications", rows)
