"""One row of a CSV export -> one of our rows: what an action is, which way money and shares go, and an id.

Quantity, price and amount must agree to the cent, but for the rounding of the printed price and small fees; a row whose
numbers contradict each other is not translated. A row that has no id gets one made of what it says and of how many equal
rows stand before it in its file, so that a grown file, or one that overlaps, says the same ids again.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from decimal import Decimal
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import NamedTuple

from flows.connectors.formats.column_map import WORDS, ColumnMap, folded
from flows.connectors.formats.numbers import (
    day,
    option_name,
    plain,
    read_day,
    reversed_sign,
    settled_price,
    signed,
    total,
    value,
)
from flows.connectors.formats.text import LOOKED_AT, Record
from flows.csv_file import SURPLUS
from transforms.tables import CASH, KINDS

PAYS = {"buy": True, "reinvest": True, "cover": True, "buy_to_open": True, "buy_to_close": True, "withdrawal": True, "charge": True,
      "sell": False, "short": False, "sell_to_open": False, "sell_to_close": False, "deposit": False}  # fmt: skip
OPTION_WORDS = ("buy_to_open", "sell_to_open", "buy_to_close", "sell_to_close", "expire")
PER_CONTRACT = 100
Row = dict[str, str | int]
Seen = Counter[tuple[str, str]]


class Untranslated(Exception):
    """Why a row stays in the source's own words."""


class Said(NamedTuple):
    """What a row says: its word of WORDS, and its numbers as plain text."""

    word: str
    quantity: str
    price: str
    fee: str
    accrued: str
    amount: str
    currency: str


class Table:
    """A table whose header was found: its map, and where each column stands."""

    def __init__(self, form: ColumnMap, cells: list[str]):
        self.form, self.header = form, cells
        places = {name: place for place, name in reversed(list(enumerate(map(folded, cells))))}
        self.places = {
            name: [places[folded(header)] for header in form.headers(name) if folded(header) in places]
            for name in form.columns
        }
        told = {**form.rows, **form.negative}
        self.told = {header: places.get(folded(header)) for header in told}

    def all(self, cells: list[str], name: str) -> list[str]:
        return [cells[place].strip() for place in self.places.get(name, ()) if place < len(cells)]  # type: ignore[call-overload]

    def first(self, cells: list[str], name: str) -> str:
        return next((text for text in self.all(cells, name) if text), "")

    def says(self, cells: list[str], wanted: dict[str, tuple[str, ...]]) -> Iterable[bool]:
        """Of each column named: does it hold one of the texts?"""
        for header, texts in wanted.items():
            place = self.told[header]
            text = cells[place].strip() if place is not None and place < len(cells) else ""
            yield any(fnmatchcase(text.casefold(), one.casefold()) for one in texts)


def printed_day(form: ColumnMap, text: str) -> str:
    if form.date_part and (hit := re.search(form.date_part, text[:LOOKED_AT], re.IGNORECASE)):
        text = hit[1]
    return day(text, form.dates)


def _number(table: Table, cells: list[str], name: str) -> str:
    texts = [plain(text, table.form.decimal, table.form.thousands) for text in table.all(cells, name)]
    return total(texts) if name == "fee" else next((text for text in texts if text), "")


def _amount(table: Table, cells: list[str]) -> str:
    form, amount = table.form, _number(table, cells, "amount")
    if form.negative:
        return signed(amount, is_negative=any(table.says(cells, form.negative)))
    if not amount and (out := _number(table, cells, "withdrawal")):
        return signed(out, is_negative=True)
    amount = amount or _number(table, cells, "deposit")
    return reversed_sign(amount) if form.amount_is_reversed and amount else amount


def _base(table: Table, record: Record) -> Row:
    """What every row has: its line, what it said, the account; and what it says beyond the header, or its fault."""
    beyond = ",".join(record.cells[len(table.header) :]).strip(", ")
    said = {
        name or f"column {place}": cell
        for place, (name, cell) in enumerate(zip(table.header, record.cells, strict=False), 1)
        if cell
    }
    return {
        "line": record.line,
        "said": json.dumps(said, ensure_ascii=False),
        "account": table.first(record.cells, "account"),
        SURPLUS: record.fault or beyond,
    }  # fmt: skip


def _id(table: Table, record: Record, seen: Seen, *content: str) -> str:
    """The row's own id, or one made of what it says and its number among the equal rows of its account.

    Omits    rows that the broker words anew: another id.
    """
    if given := table.first(record.cells, "id"):
        return given
    digest = sha256("\x1f".join(" ".join(one.split()) for one in content).encode("utf-8", "replace")).hexdigest()[:16]
    key = (table.first(record.cells, "account"), digest)
    seen[key] += 1
    return f"{digest}-{seen[key]}"


def _activity(table: Table, record: Record, seen: Seen) -> Row | None:
    form, cells = table.form, record.cells
    action, symbol = table.first(cells, "action"), table.first(cells, "symbol")
    description = " ".join(table.all(cells, "description"))
    if not symbol and form.symbol_part and (hit := re.search(form.symbol_part, description[:LOOKED_AT])):
        symbol = hit[1]
    option = _option(form, symbol) or _option(form, description)
    symbol = re.sub(r"^([A-Z]+)/([A-Z])$", r"\1.\2", symbol)  # a class of shares, as most brokers write it
    word = form.always or _word(form, action)
    if word == "nothing" or (symbol in form.cash and word in ("buy", "sell", "reinvest")):
        return None
    at = printed_day(form, " ".join([*table.all(cells, "date")[:1], *table.all(cells, "time")[:1]]))
    quantity, price, fee, accrued = (_number(table, cells, name) for name in ("quantity", "price", "fee", "accrued"))
    is_none = not fee.strip("-0.")
    fee = fee.lstrip("-") if is_none else reversed_sign(fee) if form.fee_is_negative else fee
    said = Said(word, quantity, price, fee, accrued, _amount(table, cells), table.first(cells, "currency").upper())
    name = _id(table, record, seen, at, action, symbol, description, quantity, price, fee, said.amount)
    row = {**_base(table, record), "id": name, "at": at, "symbol": symbol, "fee_usd": fee, "lots": ""}
    try:
        return {**row, **_translated(said, option)}
    except Untranslated as why:
        numbers = {"quantity": quantity, "price_usd": price, "amount_usd": said.amount}
        return {**row, **numbers, "kind": _own_word(action or form.always), "side": "", "note": str(why)}


def _translated(said: Said, option: Row | None) -> Row:
    """The kind, the side and the numbers of a row, and the terms of its option.

    Errors   Untranslated says what stands in the way.
    """
    word, amount = said.word, said.amount
    if not word:
        raise Untranslated("no action of this format")
    if said.currency not in ("", "USD"):
        raise Untranslated(f"in {said.currency[:20]}, not in USD")
    kind, side = WORDS[word]
    if word in ("trade", "expire"):
        side = "sell" if said.quantity.startswith("-") else "buy"
    if word == "cash":
        kind = "withdrawal" if amount.startswith("-") else "deposit"
    if kind in CASH:
        if said.quantity.strip("-0."):
            raise Untranslated("cash that moves shares too")
        return {"kind": kind, "side": side, "amount_usd": signed(amount, is_negative=PAYS.get(word, amount[:1] == "-"))}
    if option and word not in OPTION_WORDS:
        raise Untranslated("an option that does not say whether it opens or closes")
    if word in OPTION_WORDS and not option:
        raise Untranslated("the terms of the option cannot be read")
    made: Row = {"kind": kind, "side": side, **(option or {})}
    if word == "expire":
        return {**made, "quantity": said.quantity.lstrip("-"), "amount_usd": amount}
    return {**made, **_settled(said, is_buy=side == "buy", per=PER_CONTRACT if option else 1)}


def _settled(said: Said, *, is_buy: bool, per: int) -> Row:
    """Quantity, price and amount in line with each other; what cannot be read stays for the contract to set aside.

    Errors   Untranslated when they contradict each other.
    """
    quantity, price, amount = said.quantity.lstrip("-"), said.price, signed(said.amount, is_negative=is_buy)
    if "no number" in quantity + price + said.fee + amount + said.accrued:
        return {"quantity": quantity, "price_usd": price, "amount_usd": amount}
    count, paid = value(quantity), value(said.amount.lstrip("-"))
    fee, accrued = value(said.fee) or Decimal(0), value(said.accrued) or Decimal(0)
    if count is None or (paid is None and not price):
        raise Untranslated("quantity, or both of price and amount, missing")
    if paid is None:
        moved = count * Decimal(price) * per + (fee if is_buy else -fee)
        return {"quantity": quantity, "price_usd": price, "amount_usd": f"{-moved if is_buy else moved:.2f}"}
    settled = settled_price(count, price, fee, paid, is_buy=is_buy, accrued=accrued, per=per)
    if settled is None:
        raise Untranslated("quantity x price is not the amount")
    return {"quantity": quantity, "price_usd": settled, "amount_usd": amount}


def _word(form: ColumnMap, action: str) -> str:
    said = " ".join(action.split()).casefold()[:LOOKED_AT]
    return next((word for pattern, word in form.actions.items() if fnmatchcase(said, pattern.casefold())), "")


def _own_word(action: str) -> str:
    """The source's own word as kind; in quotes where it would pass for one of ours."""
    return f"'{action}'" if not action or action in KINDS else action[:LOOKED_AT]


def _option(form: ColumnMap, symbol: str) -> Row | None:
    """The terms of an option that a symbol names, and its name."""
    for pattern in form.options:
        hit = re.fullmatch(pattern, symbol[:LOOKED_AT], re.IGNORECASE)
        strike = value(plain(hit["strike"])) if hit else None
        expires = read_day(day(hit["expiry"], form.option_dates)) if hit else None
        if hit and strike and expires and strike < 100_000:
            right = "call" if hit["right"][0].upper() == "C" else "put"
            name = option_name(hit["underlying"], expires, right, strike)
            terms: Row = {
                "underlying_id": hit["underlying"],
                "right": right,
                "strike_usd": f"{strike:f}",
                "multiplier": str(PER_CONTRACT),
            }
            return {"symbol": name, **terms}
    return None


def _position(table: Table, record: Record, seen: Seen) -> Row | None:
    cells = record.cells
    row = {name: _number(table, cells, name) for name in ("quantity", "cost")}
    symbol = table.first(cells, "symbol") or table.first(cells, "description")
    symbol = "USD" if symbol in table.form.cash else symbol
    return {**_base(table, record), "symbol": symbol, "quantity": row["quantity"], "cost_usd": row["cost"]}


def _bank_line(table: Table, record: Record, seen: Seen) -> Row | None:
    cells = record.cells
    on, amount = printed_day(table.form, table.first(cells, "date")), _amount(table, cells)
    description = " ".join(text for text in table.all(cells, "description") if text)
    if (currency := table.first(cells, "currency").upper()) not in ("", "USD"):
        amount = f"{amount} {currency}"
    name = _id(table, record, seen, on, description, amount)
    return {
        **_base(table, record),
        "id": name,
        "posted_on": on[:10] if read_day(on) else on,
        "description": description,
        "amount_usd": amount,
    }


ROW: dict[str, Callable[[Table, Record, Seen], Row | None]] = {
    "activities": _activity,
    "positions": _position,
    "bank_lines": _bank_line,
}
