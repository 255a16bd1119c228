"""Alpaca's account activities -> the rows that the ledger reads.

The problem: a fill is one activity, but what a company does, and what becomes of an option, comes as several: a leg that takes
the old shares out, one that brings the new ones, one with the cash. None of them says a ratio. The choice: legs are put
together again (`group_id` where Alpaca gives one, else type, day and words), and one row is made of them only where the
legs prove it by their own numbers. Everything else keeps Alpaca's word as its kind, so that it is set aside with its
payload and a person decides: shares that came by ACATS without a basis, a spin-off without its basis, a merger with cash and
shares. Nothing is guessed. The payload of every leg goes along in the columns `alpaca_*`.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from flows.connectors.alpaca import Body, as_text, needed
from transforms.exact import decimal, trade_cents, usd

Row = dict[str, str]

COLUMNS = (
    "id", "at", "kind", "side", "symbol", "quantity", "price_usd", "fee_usd", "amount_usd", "lots", "ratio", "new_security_id",
    "basis_rate", "underlying_id", "right", "strike_usd", "multiplier",
)  # fmt: skip
FIELDS = (  # always a column, so that a row is the same row whatever else was delivered with it
    "activity_type", "activity_sub_type", "transaction_time", "type", "price", "qty", "side", "symbol", "leaves_qty", "order_id",
    "cum_qty", "order_status", "date", "net_amount", "per_share_amount", "description", "status", "created_at", "cusip",
    "currency", "group_id", "execution_id", "account_id", "legs",
)  # fmt: skip
CASH = {  # their net_amount is all that they are
    "DIV": "dividend", "DIVCGL": "dividend", "DIVCGS": "dividend", "DIVTXEX": "dividend",
    "INT": "interest",
    "FEE": "fee", "CFEE": "fee", "DIVFEE": "fee", "PTC": "fee", "PTR": "fee",
    "DIVFT": "fee", "DIVNRA": "fee", "DIVTW": "fee", "DIVWH": "fee", "INTNRA": "fee", "INTTW": "fee", "WH": "fee",  # taxes withheld
}  # fmt: skip
MONEY = ("CSD", "CSW", "JNL", "JNLC", "ACATC")  # a deposit or a withdrawal, by its sign
EXERCISES = {"OPASN": "option_assign", "OPEXC": "option_exercise", "OPXRC": "option_exercise"}
OPTION_ENDS = ("OPASN", "OPEXC", "OPXRC", "OPEXP", "OPTRD", "OPCSH")
IN_EFFECT = ("", "executed", "correct")
OCC = re.compile(r"(?P<root>[A-Z.]+)(?P<expires>\d{6})(?P<right>[CP])(?P<strike>\d{8})")
COIN = re.compile(r"(?P<coin>[A-Z]{2,10})/?(?P<money>USD[CT]?)")
RATIO = re.compile(r"(?P<new>[\d.]+) (?P<to>\S+) for (?:each )?(?P<old>[\d.]+) (?P<of>[^\s,]+)")
ENTITLED = re.compile(r"Pos QTY: (?P<qty>[\d.]+)")
PER_SHARE = re.compile(r"\$(?P<usd>[\d.]+) per share")
NANO = Decimal("0.000000001")


def activity_rows(activities: Iterable[Body]) -> list[Row]:
    """One row for each fill, payment, and event of a company or an option.

    Order    as they happened: a day's payments and company events, its fills, then what becomes of its options.
    Rows     the columns that the ledger reads, then every field of Alpaca as `alpaca_<field>`; all text.
    Errors   Unavailable names a field that is missing.
    Omits    (set aside under Alpaca's own word) ACATS and JNLS, fees paid in a coin, spin-offs without their basis, mergers
             for shares and cash, unit splits, rights, reorganisations, adjusted option contracts.
    """
    held = _Held()
    return [_row(legs, held) for legs in together(activities)]


def together(activities: Iterable[Body]) -> Iterator[list[Body]]:
    """The activities, those that are legs of one event as one list; the leg that takes old shares or a contract out is first."""
    groups: dict[tuple[str, ...], list[Body]] = {}
    for activity in sorted(activities, key=_moment):
        try:
            key = _event(activity)
        except ValueError:  # a number that cannot be read: it stands alone, and is set aside
            key = ("", as_text(activity["id"]))
        if key[0] == "OPTION":  # alike contracts of a day: the first event has the first trade
            wanted = activity["activity_type"] == "OPTRD"
            same = (legs for name, legs in groups.items() if name[:-1] == key)
            open_one = next(
                (legs for legs in same if all((x["activity_type"] == "OPTRD") != wanted for x in legs)), None
            )
            if open_one is not None:
                open_one.append(activity)
                continue
            key = (*key, as_text(activity["id"]))
        groups.setdefault(key, []).append(activity)
    for legs in groups.values():
        yield sorted(legs, key=lambda leg: (leg["activity_type"] == "OPTRD", _size(leg)))


def moved(activity: Body) -> tuple[str, Decimal, Decimal]:
    """What an activity did to the account: security, shares, dollars."""
    kind, symbol = activity["activity_type"], security_id(as_text(activity.get("symbol")))
    if kind == "FILL":
        is_buy = activity["side"] == "buy"
        shares = _number(activity, "qty")
        return symbol, shares if is_buy else -shares, _fill_usd(activity, symbol, is_buy=is_buy)
    if as_text(activity.get("status")) not in IN_EFFECT:
        return symbol, Decimal(0), Decimal(0)
    cash = _number(activity, "net_amount")
    counts = symbol and (kind not in CASH or not cash)  # a dividend's qty is the shares that it was paid on
    return symbol, _number(activity, "qty") if counts else Decimal(0), cash


def security_id(symbol: str) -> str:
    """
    >>> security_id("BTCUSD"), security_id("BTC/USD"), security_id("AAPL")
    ('BTC/USD', 'BTC/USD', 'AAPL')
    """
    coin = COIN.fullmatch(symbol)
    return f"{coin['coin']}/{coin['money']}" if coin and len(symbol) > 5 else symbol


def option_columns(symbol: str) -> Row | None:
    """What an option's symbol says; None where it is none, or an adjusted contract (its root ends with a digit).

    >>> option_columns("AAPL230721C00150000")
    {'underlying_id': 'AAPL', 'right': 'call', 'strike_usd': '150', 'multiplier': '100'}
    """
    said = OCC.fullmatch(symbol)
    if said is None:
        return None
    strike = f"{(Decimal(said['strike']) / 1000).normalize():f}"
    right = "call" if said["right"] == "C" else "put"
    return {"underlying_id": said["root"], "right": right, "strike_usd": strike, "multiplier": "100"}


def whole_ratio(new: Decimal, old: Decimal) -> str:
    """The simplest ratio that turns the old shares into the new ones, to Alpaca's nine decimals.

    >>> whole_ratio(Decimal("1.666666667"), Decimal(25)), whole_ratio(Decimal("0.821946705"), Decimal("0.54796447"))
    ('1:15', '3:2')
    """
    exact = Fraction(new) / Fraction(old)
    for most in range(1, 101):
        simple = exact.limit_denominator(most)
        if simple and abs(Fraction(old) * simple - Fraction(new)) < Fraction(NANO):
            return f"{simple.numerator}:{simple.denominator}"
    return f"{new.normalize():f}:{old.normalize():f}"


class _Held:
    """Contracts, and shares that are owed: what opens and what closes follows from them."""

    def __init__(self) -> None:
        self._of: dict[str, Decimal] = {}

    def opens(self, symbol: str, shares: Decimal) -> bool | None:
        """Does this open, or add to, a position? None where it would turn it around."""
        before = self._of.get(symbol, Decimal(0))
        self._of[symbol] = before + shares
        if before * shares >= 0:
            return True
        return False if abs(shares) <= abs(before) else None

    def owes(self, symbol: str) -> bool:
        return self._of.get(symbol, Decimal(0)) < 0


def _row(legs: list[Body], held: _Held) -> Row:
    main = legs[0]
    kind = needed(main, "activity_type", f"activity {main['id']}")
    what = f"Alpaca's {kind} activity {main['id']}"
    at = needed(main, "transaction_time" if kind == "FILL" else "date", what)
    made = _made(kind, legs, held, what)
    plain = {
        "kind": " ".join(filter(None, (kind, as_text(main.get("activity_sub_type")), _status(main)))),
        "quantity": as_text(main.get("qty")).lstrip("-"),
        "amount_usd": as_text(main.get("net_amount")),
    }
    row = dict.fromkeys(COLUMNS, "") | {
        "id": as_text(main["id"]),
        "at": at,
        "symbol": security_id(as_text(main.get("symbol"))),
    }
    row |= made if made is not None else plain
    fields = {name: as_text(main.get(name)) for name in (*FIELDS, *main) if name not in ("id", "legs")}
    fields["legs"] = json.dumps(legs[1:]) if legs[1:] else ""
    return row | {f"alpaca_{name}": text for name, text in fields.items()}


def _made(kind: str, legs: list[Body], held: _Held, what: str) -> Row | None:
    """What the row says in the ledger's words; None where it cannot be said safely."""
    main = legs[0]
    if kind == "FILL":
        return _fill(main, held, what)
    for leg in legs:
        if OCC.fullmatch(symbol := as_text(leg.get("symbol"))):
            held.opens(symbol, _size(leg))
    if any(as_text(leg.get("currency")) not in ("", "USD") for leg in legs):
        return None
    if all(as_text(leg.get("status")) == "canceled" for leg in legs):
        return {"kind": "bust", "amount_usd": as_text(main.get("net_amount")) or "0"}
    if any(as_text(leg.get("status")) not in IN_EFFECT for leg in legs):
        return None
    if kind in CASH or kind in MONEY:
        needed(main, "net_amount", what)
    maker = EVENTS.get(kind, _cash)
    try:
        return maker(kind, legs)
    except (ValueError, ArithmeticError):  # a number that cannot be read: it is set aside as it stands
        return None


def _fill(fill: Body, held: _Held, what: str) -> Row | None:
    for field in ("price", "qty", "side", "symbol", "order_id"):
        needed(fill, field, what)
    side = as_text(fill["side"])
    if side not in ("buy", "sell", "sell_short"):
        return None
    try:
        symbol, shares, amount = moved(fill)
    except ValueError:
        return None
    row = {
        "side": "buy" if side == "buy" else "sell", "quantity": as_text(fill["qty"]), "price_usd": as_text(fill["price"]),
        "fee_usd": "0", "amount_usd": f"{amount:f}",
    }  # fmt: skip
    if OCC.fullmatch(symbol):
        opens = held.opens(symbol, shares)
        return (
            None
            if opens is None
            else row | {"kind": "option_open" if opens else "option_close"} | (option_columns(symbol) or {})
        )
    if side == "sell_short" or (side == "buy" and held.owes(symbol)):
        opens = held.opens(symbol, shares)
        return None if opens is None else row | {"kind": "short_open" if opens else "short_close"}
    return row | {"kind": "trade"}


def _cash(kind: str, legs: list[Body]) -> Row | None:
    """Money alone: a payment, a fee, a deposit."""
    main = legs[0]
    amount, sub_type = as_text(main.get("net_amount")), as_text(main.get("activity_sub_type"))
    if len(legs) > 1 or not decimal(amount or "0"):
        return None
    if kind == "DIVROC" or (kind == "DIV" and sub_type == "ROC"):
        a_share = as_text(main.get("per_share_amount"))
        return {"kind": "return_of_capital", "price_usd": a_share, "amount_usd": amount} if a_share else None
    if kind in CASH:
        return {"kind": CASH[kind], "amount_usd": amount}
    if kind in MONEY:
        return {"kind": "deposit" if decimal(amount) > 0 else "withdrawal", "amount_usd": amount}
    return None


def _dividend(kind: str, legs: list[Body]) -> Row | None:
    """In cash; or in shares, which is a split where the shares that came prove its rate (0.12, or 1.12 with the old share)."""
    main = legs[0]
    came, cash, a_share = _number(main, "qty"), _number(main, "net_amount"), _number(main, "per_share_amount")
    said = ENTITLED.search(as_text(main.get("description")))
    if as_text(main.get("activity_sub_type")) != "SDIV" or cash or len(legs) > 1:
        return _cash(kind, legs)
    entitled = decimal(said["qty"]) if said else Decimal(0)
    for rate in (a_share, 1 + a_share):
        if entitled and rate > 1 and abs(entitled * (rate - 1) - came) <= NANO:
            return {"kind": "split", "ratio": f"{rate.normalize():f}:1", "amount_usd": "0"}
    return None


def _split(kind: str, legs: list[Body]) -> Row | None:
    """Old shares out, new ones in. The prices of the legs, where given, have to say the same ratio."""
    pair = _out_and_in(legs)
    if pair is None or pair[0]["symbol"] != pair[1]["symbol"]:
        return None
    old, new = -_number(pair[0], "qty"), _number(pair[1], "qty")
    before, after = _number(pair[0], "price"), _number(pair[1], "price")
    if before and after and abs(before / after - new / old) > Decimal("0.01") * new / old:
        return None  # a fraction was paid out in cash: the shares alone do not tell the ratio
    return {"kind": "split", "ratio": whole_ratio(new, old), "amount_usd": "0"}


def _new_name(kind: str, legs: list[Body]) -> Row | None:
    pair = _out_and_in(legs)
    if pair is None or pair[0]["symbol"] == pair[1]["symbol"] or _number(pair[0], "qty") != -_number(pair[1], "qty"):
        return None
    return {"kind": "symbol_change", "new_security_id": as_text(pair[1]["symbol"]), "amount_usd": "0"}


def _merger(kind: str, legs: list[Body]) -> Row | None:
    """For shares alone a merger, for cash alone a sale; for both, the value of a new share is missing."""
    if (pair := _out_and_in(legs)) is not None:
        old, new = -_number(pair[0], "qty"), _number(pair[1], "qty")
        said = RATIO.search(as_text(pair[0].get("description")))
        ratio = f"{said['new']}:{said['old']}" if said else whole_ratio(new, old)
        return {"kind": "merger", "new_security_id": as_text(pair[1]["symbol"]), "ratio": ratio, "amount_usd": "0"}
    shares, cash = (
        [leg for leg in legs if _number(leg, "qty")],
        sum((_number(leg, "net_amount") for leg in legs), Decimal(0)),
    )
    if len(shares) != 1 or _number(shares[0], "qty") >= 0 or cash <= 0:
        return None
    return _sale("trade", -_number(shares[0], "qty"), cash, as_text(shares[0].get("description")))


def _in_lieu(kind: str, legs: list[Body]) -> Row | None:
    """Cash for a fraction of a share, where Alpaca says how large it was."""
    quantity, cash = abs(_number(legs[0], "qty")), _number(legs[0], "net_amount")
    return _sale("cash_in_lieu", quantity, cash, "") if len(legs) == 1 and quantity and cash > 0 else None


def _sale(kind: str, quantity: Decimal, cash: Decimal, words: str) -> Row | None:
    """A sale whose price comes from its money; the price that the words say is taken where it gives that money."""
    said = PER_SHARE.search(words)
    prices = [decimal(said["usd"])] if said else []
    prices.append((cash / quantity).quantize(NANO, ROUND_HALF_UP))
    price = next((price for price in prices if usd(trade_cents(quantity, price, Decimal(0))) == cash), None)
    if price is None:
        return None
    return {
        "kind": kind, "side": "sell", "quantity": f"{quantity:f}", "price_usd": f"{price:f}", "fee_usd": "0", "amount_usd": f"{cash:f}",
    }  # fmt: skip


def _spin_off(kind: str, legs: list[Body]) -> Row | None:
    """New shares in; the basis that goes with them is told by a pair of legs that restate the old shares at another price."""
    symbols = [leg["symbol"] for leg in legs]
    new = next((leg for leg in legs if symbols.count(leg["symbol"]) == 1), None)
    old = _out_and_in([leg for leg in legs if leg is not new])
    if new is None or old is None or _number(old[0], "qty") != -_number(old[1], "qty"):
        return None
    before, after, held = _number(old[0], "price"), _number(old[1], "price"), _number(old[1], "qty")
    if not 0 < after < before:
        return None
    said = next(filter(None, (RATIO.search(as_text(leg.get("description"))) for leg in legs)), None)
    return {
        "kind": "spin_off", "symbol": as_text(old[0]["symbol"]), "new_security_id": as_text(new["symbol"]),
        "ratio": f"{said['new']}:{said['old']}" if said else whole_ratio(_number(new, "qty"), held),
        "basis_rate": f"{(1 - after / before).quantize(Decimal('0.000001'), ROUND_HALF_UP):f}", "amount_usd": "0",
    }  # fmt: skip


def _expiry(kind: str, legs: list[Body]) -> Row | None:
    contracts, option = _number(legs[0], "qty"), option_columns(as_text(legs[0].get("symbol")))
    if len(legs) > 1 or not contracts or option is None:
        return None
    side = "sell" if contracts < 0 else "buy"  # a bought one leaves, a written one comes back
    return {"kind": "option_expire", "side": side, "quantity": f"{abs(contracts):f}", "amount_usd": "0"} | option


def _exercise(kind: str, legs: list[Body]) -> Row | None:
    """The contract's leg with its trade in the shares, whose money has to be the strike."""
    if len(legs) != 2 or legs[1]["activity_type"] != "OPTRD" or kind not in EXERCISES:
        return None
    contracts, option = abs(_number(legs[0], "qty")), option_columns(as_text(legs[0].get("symbol")))
    cash = _number(legs[1], "net_amount")
    if not contracts or option is None or abs(cash) != contracts * 100 * Decimal(option["strike_usd"]):
        return None
    return {"kind": EXERCISES[kind], "quantity": f"{contracts:f}", "fee_usd": "0", "amount_usd": f"{cash:f}"} | option


EVENTS: dict[str, Callable[[str, list[Body]], Row | None]] = {
    "DIV": _dividend,
    "SPLIT": _split,
    "SSP": _split,
    "NC": _new_name,
    "SC": _new_name,
    "MA": _merger,
    "CIL": _in_lieu,
    "SPIN": _spin_off,
    "SSO": _spin_off,
    "OPEXP": _expiry,
    "OPASN": _exercise,
    "OPEXC": _exercise,
    "OPXRC": _exercise,
    "OPTRD": _exercise,
}
LEGS = {"SPLIT": "SPLIT", "SSP": "SPLIT", "NC": "NC", "SC": "NC", "MA": "MA", "SPIN": "SPIN", "SSO": "SPIN"}


def _event(activity: Body) -> tuple[str, ...]:
    """What the legs of one event have in common."""
    kind, day = needed(activity, "activity_type", f"activity {activity['id']}"), as_text(activity.get("date"))
    symbol, words = as_text(activity.get("symbol")), as_text(activity.get("description"))
    if kind in (*LEGS, *EXERCISES, "OPTRD") and (group := as_text(activity.get("group_id"))):
        return "GROUP", group
    if kind == "OPTRD":
        return "OPTION", day, symbol, f"{abs(_number(activity, 'net_amount')).normalize():f}"
    if kind in EXERCISES and (option := option_columns(symbol)):
        worth = abs(_number(activity, "qty")) * 100 * Decimal(option["strike_usd"])
        return "OPTION", day, option["underlying_id"], f"{worth.normalize():f}"
    if kind in ("SPLIT", "SSP"):
        return "SPLIT", day, symbol
    if kind in ("SPIN", "SSO"):
        said = RATIO.search(words)
        return "SPIN", day, said["of"] if said else symbol
    if kind in LEGS:
        return LEGS[kind], day, words or symbol
    return kind, as_text(activity["id"])


def _moment(activity: Body) -> tuple[str, int, str]:
    """Ids begin with the time, but those of what is no trade with the midnight of its day."""
    kind, name = needed(activity, "activity_type", "an activity"), needed(activity, "id", "an activity")
    return name[:8], 1 if kind == "FILL" else 2 if kind in OPTION_ENDS else 0, name


def _out_and_in(legs: list[Body]) -> tuple[Body, Body] | None:
    """A leg that takes shares out and one that brings some, without money; None where the legs are others."""
    if len(legs) != 2 or any(_number(leg, "net_amount") for leg in legs):
        return None
    out, into = sorted(legs, key=lambda leg: _number(leg, "qty"))
    return (out, into) if _number(out, "qty") < 0 < _number(into, "qty") else None


def _fill_usd(fill: Body, symbol: str, *, is_buy: bool) -> Decimal:
    """Alpaca's fills carry no amount: shares x price, to the cent."""
    shares = _number(fill, "qty") * (100 if OCC.fullmatch(symbol) else 1)
    worth = usd(trade_cents(shares, _number(fill, "price"), Decimal(0)))
    return -worth if is_buy else worth


def _number(body: Body, field: str) -> Decimal:
    """A number that may be absent.

    Errors   ValueError.
    """
    return decimal(as_text(body.get(field)) or "0")


def _size(leg: Body) -> Decimal:
    try:
        return _number(leg, "qty")
    except ValueError:
        return Decimal(0)


def _status(activity: Body) -> str:
    status = as_text(activity.get("status"))
    return "" if status in IN_EFFECT else status


def day_of(activity: Body) -> str:
    """When it was, as Alpaca writes it.

    Errors   Unavailable.
    """
    kind = needed(activity, "activity_type", "an activity")
    return needed(
        activity, "transaction_time" if kind == "FILL" else "date", f"Alpaca's {kind} activity {activity.get('id')}"
    )
