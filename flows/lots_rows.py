"""One row of text -> one event, for every kind that `thresher lots` and the ledger know.

KINDS is the list: what a kind reads and makes. A row that cannot be read is refused with a ValueError that says
which column, what stands there and what was expected; nobody else words a reject.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import date, time
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

from transforms.exact import MOST_CENTS, MOST_NANO, decimal, half_up, nano_shares, trade_cents
from transforms.lots.methods import BY_ITSELF
from transforms.lots.relief import read_picks
from transforms.lots.rules import Rules, purchase_replaces
from transforms.lots.term import long_since
from transforms.model import DEFERRED, OWNERS, TAXABLE, Action, Event, Exercise, Move, Option, Trade

Row = Mapping[str, str]
COLUMNS = (
    "trade_id", "account_id", "account_type", "owner", "security_id", "side", "quantity", "price_usd", "fee_usd",
    "traded_at",
)  # fmt: skip
OPTIONAL = (
    "lots", "kind", "method", "asset", "to_account_id", "to_account_type", "to_owner", "basis_usd", "acquired_on", "ratio",
    "new_security_id", "basis_rate", "cash_usd", "underlying_id", "right", "strike_usd", "multiplier",
    "underlying_price_usd", "corrects",
)  # fmt: skip


class Given(NamedTuple):
    """What every row says, read."""

    row: Row
    trade_id: str
    account_id: str
    account_type: str
    owner: str
    security_id: str
    on: date
    at: time | None
    rules: Rules

    @property
    def is_deferred(self) -> bool:
        return self.account_type in DEFERRED

    @property
    def is_digital(self) -> bool:
        return _one_of("asset", self.text("asset") or "security", ("security", "digital_asset")) == "digital_asset"

    def text(self, column: str) -> str:
        return (self.row.get(column) or "").strip()

    def needed(self, column: str) -> str:
        if not (text := self.text(column)):
            raise ValueError(f"{column} is empty")
        return text

    def number(self, column: str, *, above_zero: bool = False, default: str | None = None) -> Decimal:
        try:
            number = decimal(self.text(column) or (default if default is not None else self.row.get(column, "")))
        except ValueError as wrong:
            raise ValueError(f"{column}: {wrong}") from None
        if number < 0 or (above_zero and not number):
            raise ValueError(f"{column} {self.text(column)} is not {'above zero' if above_zero else 'zero or more'}")
        return number

    def day(self, column: str) -> date:
        try:
            return date.fromisoformat(self.needed(column))
        except ValueError:
            raise ValueError(f"{column} {self.text(column)!r} is not a date like 2025-03-10") from None

    def quantity(self) -> int:
        quantity = nano_shares(self.number("quantity", above_zero=True))
        if quantity >= MOST_NANO:
            raise ValueError(f"quantity {self.text('quantity')} is more than can be booked ({MOST_NANO // 10**9:,})")
        return quantity

    def side(self) -> bool:
        """Is it a buy?"""
        return _one_of("side", self.text("side"), ("buy", "sell")) == "buy"

    def picks(self) -> tuple[tuple[str, int], ...]:
        return read_picks(self.text("lots"))

    def method(self) -> str:
        return _one_of("method", self.text("method") or "fifo", BY_ITSELF)

    def money(self, is_buy: bool, per: int = 1, price: Decimal | None = None) -> int:
        """quantity x price with the fee of a purchase, net of it of a sale, in cents."""
        price = self.number("price_usd") if price is None else price
        fee = self.number("fee_usd")
        return _within(trade_cents(self.number("quantity") * per, price, fee if is_buy else -fee))


def read_event(row: Row, account_type: str, owner: str, on: date, at: time | None, rules: Rules) -> Event:
    """The event that a row says. `account_type` and `owner` are those of its account.

    Errors   ValueError says what is wrong with the row.
    Omits    kinds that are not in KINDS.
    """
    kind, side = (row.get("kind") or "").strip(), row["side"].strip()
    kind = kind or side
    if kind in ("buy", "sell") and side in ("buy", "sell") and kind != side:
        raise ValueError(f"kind {kind!r} and side {side!r} contradict each other")
    if kind not in KINDS:
        if kind == side:
            raise ValueError(f"side {side!r} is not one of buy, sell")
        raise ValueError(f"kind {kind!r} is not modelled; one of {', '.join(KINDS)}, correction")
    given = Given(row, "", "", account_type, owner, "", on, at, rules)
    given = given._replace(
        trade_id=given.needed("trade_id"),
        account_id=given.needed("account_id"),
        security_id=given.needed("security_id"),
    )
    _one_of("account_type", account_type, TAXABLE | DEFERRED)
    _one_of("owner", owner, OWNERS)
    return KINDS[kind](given)


def restated(row: Row, correction: Row) -> dict[str, str]:
    """A row as a correction restates it: what the correction leaves empty stays. It keeps its own trade_id and kind.

    >>> restated({"trade_id": "A", "quantity": "10", "price_usd": "5"}, {"trade_id": "A2", "kind": "correction", "quantity": "9"})
    {'trade_id': 'A', 'quantity': '9', 'price_usd': '5'}
    """
    said = {column: text for column, text in correction.items() if text.strip() and column not in ("trade_id", "kind")}
    said.pop("corrects", None)
    return {**row, **said}


def _trade(given: Given) -> Trade:
    """buy, sell, cash_in_lieu: shares for money."""
    is_buy = given.side()
    quantity, amount, picks = given.quantity(), given.money(is_buy), given.picks()
    if is_buy and (picks or given.text("method")):
        raise ValueError("a buy names no lots; they are for the sale that takes them")
    return Trade(
        given.trade_id, given.account_id, given.security_id, is_buy, quantity, amount, given.on, given.at,
        given.is_deferred, picks, given.method(), purchase_replaces(given.rules, given.account_type, given.owner),
        is_digital=given.is_digital,
    )  # fmt: skip


def _purchase(given: Given) -> Trade:
    """dividend_reinvested, award: a purchase at the price of its day (an award at the value that is taxed as wages)."""
    _is_side(given, "buy")
    return _trade(given)


def _sale(given: Given) -> Trade:
    _is_side(given, "sell")
    return _trade(given)


def _gift(given: Given) -> Event:
    """Received (buy): the giver's basis and period; price_usd is the market value a share on the day. Given (sell)."""
    if not given.side():
        if given.is_deferred:
            raise ValueError(
                "a gift out of a deferred account is a distribution first: say it as a transfer, then a gift"
            )
        return Move(
            given.trade_id, given.account_id, given.security_id, given.quantity(), given.on, given.at, given.is_deferred,
            None, False, 0, given.picks(), given.method(),
        )  # fmt: skip
    if given.is_deferred:
        raise ValueError("a gift into a deferred account is a contribution, which is cash (26 USC 408(a)(1))")
    value = given.money(is_buy=False)
    basis = _cents(given.number("basis_usd"))
    since = given.day("acquired_on")
    if since > given.on:
        raise ValueError(f"acquired_on {since} is after the gift: it is the day on which the giver acquired it")
    return _taxable_lot(given, basis, since)._replace(loss_amount=value if value < basis else None)


def _inheritance(given: Given) -> Trade:
    """Basis is the market value at death, price_usd a share; always long-term."""
    _is_side(given, "buy")
    if given.is_deferred:
        raise ValueError("an inherited account is an account: say its shares as a transfer between deferred accounts")
    return _taxable_lot(given, given.money(is_buy=True), long_since(given.on))


def _taxable_lot(given: Given, amount: int, since: date) -> Trade:
    return Trade(
        given.trade_id, given.account_id, given.security_id, True, given.quantity(), amount, given.on, given.at, False,
        replaces=False, holding_since=since, is_digital=given.is_digital,
    )  # fmt: skip


def _transfer(given: Given) -> Move:
    """To another account of the household: the lots travel; out of a deferred account in kind, at price_usd a share."""
    _is_side(given, "sell")
    to, to_type = (
        given.needed("to_account_id"),
        _one_of("to_account_type", given.needed("to_account_type"), TAXABLE | DEFERRED),
    )
    to_owner = _one_of("to_owner", given.needed("to_owner"), OWNERS)
    if to == given.account_id:
        raise ValueError("to_account_id is the account itself")
    to_deferred = to_type in DEFERRED
    if not given.is_deferred and (to_deferred or to_type != given.account_type):
        what = "a contribution, which is cash (26 USC 408(a)(1))" if to_deferred else "a gift: say it as two gifts"
        raise ValueError(f"a transfer from {given.account_type} to {to_type} is {what}")
    if "corporation" in (given.owner, to_owner) and given.owner != to_owner:
        raise ValueError(
            "a transfer between a person and a corporation is a contribution or a distribution; not modelled"
        )
    if given.is_deferred and given.owner != to_owner:
        raise ValueError(
            f"a transfer from an account of {given.owner} to one of {to_owner} is not modelled for deferred accounts"
        )
    value = given.money(is_buy=False) if given.is_deferred and not to_deferred else 0
    if given.is_deferred and not to_deferred:
        given.needed("price_usd")
    return Move(
        given.trade_id, given.account_id, given.security_id, given.quantity(), given.on, given.at, given.is_deferred,
        to, to_deferred, value, given.picks(), given.method(),
    )  # fmt: skip


def _split(given: Given) -> Action:
    return Action(given.trade_id, "split", given.security_id, given.on, _ratio(given))


def _symbol_change(given: Given) -> Action:
    return Action(given.trade_id, "symbol_change", given.security_id, given.on, new_security_id=_new(given))


def _spin_off(given: Given) -> Action:
    rate = Fraction(given.number("basis_rate"))
    if rate >= 1:
        raise ValueError(
            f"basis_rate {given.text('basis_rate')} is not below 1: it is the part of the basis that moves (Form 8937)"
        )
    return Action(given.trade_id, "spin_off", given.security_id, given.on, _ratio(given), _new(given), rate)


def _merger(given: Given) -> Action:
    cash = given.number("cash_usd", default="0")
    if cash and not given.text("price_usd"):
        raise ValueError("price_usd is empty: with cash it is the market value of a new share, which limits the gain")
    price = given.number("price_usd", default="0")
    return Action(
        given.trade_id,
        "merger",
        given.security_id,
        given.on,
        _ratio(given),
        _new(given),
        cash_usd=cash,
        price_usd=price,
    )


def _return_of_capital(given: Given) -> Action:
    return Action(
        given.trade_id, "return_of_capital", given.security_id, given.on,
        cash_usd=given.number("price_usd", above_zero=True),
    )  # fmt: skip


def _option_open(given: Given) -> Trade:
    option, is_buy = _option(given), given.side()
    if not is_buy and option.right == "put":
        price = given.number("underlying_price_usd", above_zero=True)
        option = option._replace(is_deep=option.strike_usd >= price * given.rules.deep_put_moneyness)
    return _option_trade(given, option, is_buy, is_short=not is_buy, amount=given.money(is_buy, option.per))


def _option_close(given: Given) -> Trade:
    option, is_buy = _option(given), given.side()
    return _option_trade(given, option, is_buy, is_short=is_buy, amount=given.money(is_buy, option.per))


def _option_expire(given: Given) -> Trade:
    """sell: a bought option expires; buy: a written one."""
    is_buy = given.side()
    return _option_trade(given, _option(given), is_buy, is_short=is_buy, amount=0)


def _option_trade(given: Given, option: Option, is_buy: bool, *, is_short: bool, amount: int) -> Trade:
    return Trade(
        given.trade_id, given.account_id, given.security_id, is_buy, given.quantity(), amount, given.on, given.at,
        given.is_deferred, given.picks(), given.method(),
        purchase_replaces(given.rules, given.account_type, given.owner), is_short=is_short, option=option,
    )  # fmt: skip


def _option_exercise(given: Given) -> Exercise:
    return _exercise(given, is_short=False)


def _option_assign(given: Given) -> Exercise:
    return _exercise(given, is_short=True)


def _exercise(given: Given, *, is_short: bool) -> Exercise:
    option = _option(given)
    is_buy = (option.right == "call") != is_short
    return Exercise(
        given.trade_id, given.account_id, given.security_id, given.quantity(),
        given.money(is_buy, option.per, option.strike_usd), given.on, given.at, given.is_deferred, is_short, option,
        given.picks(), given.method(),
    )  # fmt: skip


def _short_open(given: Given) -> Trade:
    _is_side(given, "sell")
    return _trade(given)._replace(is_short=True, picks=(), method="fifo")


def _short_close(given: Given) -> Trade:
    _is_side(given, "buy")
    picks, given = given.picks(), given._replace(row={**given.row, "lots": ""})
    return _trade(given)._replace(is_short=True, picks=picks)


KINDS: dict[str, Callable[[Given], Event]] = {
    "buy": _trade,
    "sell": _trade,
    "transfer": _transfer,
    "gift": _gift,
    "inheritance": _inheritance,
    "dividend_reinvested": _purchase,
    "award": _purchase,
    "split": _split,
    "spin_off": _spin_off,
    "merger": _merger,
    "cash_in_lieu": _sale,
    "return_of_capital": _return_of_capital,
    "symbol_change": _symbol_change,
    "option_open": _option_open,
    "option_close": _option_close,
    "option_expire": _option_expire,
    "option_assign": _option_assign,
    "option_exercise": _option_exercise,
    "short_open": _short_open,
    "short_close": _short_close,
}  # and `correction`, which restates another row (`restated`)


def _option(given: Given) -> Option:
    per = given.number("multiplier", above_zero=True, default="100")
    if per != int(per):
        raise ValueError(f"multiplier {given.text('multiplier')} is not a whole number of shares a contract")
    right = _one_of("right", given.needed("right"), ("call", "put"))
    return Option(given.needed("underlying_id"), right, given.number("strike_usd", above_zero=True), int(per))


def _ratio(given: Given) -> Fraction:
    """NEW:OLD, new shares for old ones.

    3:2 is three new shares for two old ones, 1:8 a reverse split.
    """
    new, colon, old = given.needed("ratio").partition(":")
    try:
        ratio = Fraction(decimal(new)) / Fraction(decimal(old)) if colon else Fraction(0)
    except (ValueError, ZeroDivisionError):
        ratio = Fraction(0)
    if ratio <= 0:
        raise ValueError(
            f"ratio {given.text('ratio')!r} is not NEW:OLD, like 3:2 for three new shares for two old ones"
        )
    return ratio


def _new(given: Given) -> str:
    if (new := given.needed("new_security_id")) == given.security_id:
        raise ValueError("new_security_id is the security itself")
    return new


def _is_side(given: Given, side: str) -> None:
    if given.text("side") != side:
        raise ValueError(f"side {given.text('side')!r} of {given.text('kind')} is not {side}")


def _cents(usd: Decimal) -> int:
    amount = Fraction(usd) * 100
    return _within(half_up(amount.numerator, amount.denominator))


def _within(cents: int) -> int:
    if abs(cents) >= MOST_CENTS:
        raise ValueError(f"an amount of ${cents // 100:,} is more than can be booked (${MOST_CENTS // 100:,})")
    return cents


def _one_of(name: str, text: str, allowed: Iterable[str]) -> str:
    if text not in allowed:
        raise ValueError(f"{name} {text!r} is not one of {', '.join(sorted(allowed))}")
    return text
