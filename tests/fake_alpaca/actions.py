"""What companies do, and options that end: as activities, and on the lots.

An action is told ahead, in the words of Alpaca's corporate-actions feed. It takes effect at four in the morning, New York,
of its ex-date (a merger's effective, a name change's process date) on what is held then; a cash dividend is paid on its
payable date for what was held on the ex-date. What goes and what comes are two rows with one `group_id`, as Alpaca books
them. Open orders in a security that is split, merged or renamed are canceled.

Quantities keep nine decimals, rounded down over the whole position; cost moves with the lots, unchanged. A spin-off takes the
part `basis_rate` of the cost with it (none unless told). Shares from an exercised option cost the strike.

Omits    unit splits, redemptions, rights, cash in lieu of fractions; premiums in the cost of exercised options.
"""

from collections.abc import Iterator
from datetime import date, datetime, time
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any

from tests.fake_alpaca.books import NANO, Account, Lot, cents, relieved, text
from tests.fake_alpaca.market import NEW_YORK, is_option, new_york, to_tick

if TYPE_CHECKING:
    from tests.fake_alpaca.trading import Broker

# what each kind needs, the date on which it takes effect, the symbol that it is about, its activity and the sub-type
KINDS = {
    "forward_split": (("symbol", "new_rate", "old_rate", "ex_date"), "ex_date", "symbol", "SPLIT", "FSPLIT"),
    "reverse_split": (("symbol", "new_rate", "old_rate", "ex_date"), "ex_date", "symbol", "SPLIT", "RSPLIT"),
    "stock_dividend": (("symbol", "rate", "ex_date"), "ex_date", "symbol", "DIV", "SDIV"),
    "cash_dividend": (("symbol", "rate", "ex_date", "payable_date"), "ex_date", "symbol", "DIV", "CDIV"),
    "spin_off": (
        ("source_symbol", "new_symbol", "source_rate", "new_rate", "ex_date"), "ex_date", "source_symbol", "SPIN", None
    ),
    "cash_merger": (("acquiree_symbol", "rate", "effective_date"), "effective_date", "acquiree_symbol", "MA", "CMA"),
    "stock_merger": (
        ("acquiree_symbol", "acquirer_symbol", "acquiree_rate", "acquirer_rate", "effective_date"),
        "effective_date", "acquiree_symbol", "MA", "SMA",
    ),
    "stock_and_cash_merger": (
        ("acquiree_symbol", "acquirer_symbol", "acquiree_rate", "acquirer_rate", "cash_rate", "effective_date"),
        "effective_date", "acquiree_symbol", "MA", "SCMA",
    ),
    "name_change": (("old_symbol", "new_symbol", "process_date"), "process_date", "old_symbol", "NC", "SNC"),
    "worthless_removal": (("symbol", "process_date"), "process_date", "symbol", "REORG", "WRM"),
}  # fmt: skip
NUMBERS = ("rate", "new_rate", "old_rate", "source_rate", "acquiree_rate", "acquirer_rate", "cash_rate", "basis_rate", "new_price",
           "withholding_rate")  # fmt: skip


def announced(broker: "Broker", told: dict[str, Any]) -> dict:
    """An action as it is kept: numbers as text, the dates that follow from others filled in.

    Errors   ValueError names what is missing.
    """
    kind = told.get("type", "")
    if kind not in KINDS:
        raise ValueError(f"type is one of {', '.join(KINDS)}; it is {kind!r}")
    needed, effective, *_ = KINDS[kind]
    if missing := [name for name in needed if told.get(name) is None]:
        raise ValueError(f"{kind} needs {', '.join(missing)}")
    for name in (name for name in told if name.endswith("_date")):
        date.fromisoformat(told[name])
    action = {"id": told.get("id") or broker.new_id(), **told}
    action |= {name: text(Decimal(str(told[name]))) for name in NUMBERS if told.get(name) is not None}
    action.setdefault("process_date", action.get("payable_date") or action[effective])
    if kind == "cash_dividend":
        action = {"special": False, "foreign": False, "record_date": action["ex_date"], **action}
    return action


def steps(action: dict) -> Iterator[tuple[str, datetime]]:
    """When it does something: to the positions, to the cash."""
    yield "positions", datetime.combine(date.fromisoformat(action[KINDS[action["type"]][1]]), time(4), NEW_YORK)
    if action["type"] == "cash_dividend":
        yield "cash", datetime.combine(date.fromisoformat(action["payable_date"]), time(9), NEW_YORK)


def act(broker: "Broker", action: dict, step: str) -> None:
    """One step of an action, on every account."""
    kind = action["type"]
    symbol = action[KINDS[kind][2]]
    effect = {
        "cash_dividend": _pay if step == "cash" else _entitle,
        "spin_off": _spin_off,
        "worthless_removal": _convert,
    }.get(kind, _convert)
    for account in broker.books.accounts.values():
        if kind not in ("cash_dividend", "spin_off", "stock_dividend"):
            for order in [order for order in account.working.values() if order.symbol == symbol]:
                broker.end(account, order, "canceled", reason=kind)
        if account.quantity(symbol) or (step == "cash" and action["id"] in account.entitled):
            effect(broker, account, action, symbol)
    if step == "positions":
        _reprice(broker, action, symbol)


def book(
    broker: "Broker", account: Account, kind: str, *, net: Decimal = Decimal(0), row: dict | None = None, **moved: Any
) -> None:
    """An activity that is no trade; `moved` are the lots and shares that it moves."""
    day = new_york(broker.clock)
    rest = dict(row or {})
    day = date.fromisoformat(rest.pop("date", str(day)))
    activity = {
        "id": f"{day:%Y%m%d}000000000::{broker.new_id()}",
        "activity_type": kind,
        "date": str(day),
        "created_at": broker.clock.astimezone(NEW_YORK).isoformat(),
        "net_amount": text(net),
        "description": "",
        "status": "executed",
        **{name: value for name, value in rest.items() if value is not None},
    }
    broker.emit("activity", account, cash=text(net), activity=activity, **moved)


def _convert(broker: "Broker", account: Account, action: dict, symbol: str) -> None:
    """A position goes, another comes, cash comes: splits, stock dividends, mergers, new names, worthless shares."""
    kind = action["type"]
    _, _, _, activity, sub_type = KINDS[kind]
    old = account.lots[symbol]
    new_symbol, rate = becomes(action, symbol)
    lots = _scaled(old, rate)
    gone, come = account.quantity(symbol), sum((lot.quantity for lot in lots), Decimal(0))
    cost = account.cost(symbol)
    paid = cents(gone * Decimal(action.get("cash_rate") or (action["rate"] if kind == "cash_merger" else 0)))
    words = f"From QTY:{text(-gone)}, To QTY:{text(come)}, Position Value:{text(cost)}"
    group = {"group_id": broker.new_id(), "activity_sub_type": sub_type}
    activity = action.get("activity_type") or activity
    if paid:
        payment = {
            "symbol": symbol,
            "qty": "0",
            "price": "0",
            "description": f"{kind}: {text(paid)} for {text(gone)} shares",
        }
        book(broker, account, activity, net=paid, row={**payment, **group})
    if kind == "stock_dividend":
        told = {"symbol": symbol, "qty": text(come - gone), "price": "0", "per_share_amount": action["rate"]}
        row = {**told, **group, "description": f"Stock DIV @ {action['rate']}, Pos QTY: {text(gone)}"}
        book(broker, account, activity, row=row, shares={symbol: text(come - gone)}, lots={symbol: as_rows(lots)})
        return
    leaving = {"symbol": symbol, "qty": text(-gone), "price": _each(cost, gone), "description": f"REMOVE, {words}"}
    after: dict[str, list] = {symbol: []}
    if come:
        held = account.lots.get(new_symbol, []) if new_symbol != symbol else []
        coming = {"symbol": new_symbol, "qty": text(come), "price": _each(cost, come), "description": f"ADD, {words}"}
        after |= {new_symbol: as_rows(sorted([*held, *lots], key=lambda lot: lot.acquired_at))}
        book(broker, account, activity, row={**leaving, **group}, shares={symbol: text(-gone)}, lots={symbol: []})
        # the lots come with the second row; both are of one request, so that no reader sees one without the other
        book(
            broker,
            account,
            activity,
            row={**coming, **group},
            shares={new_symbol: text(come)},
            lots={new_symbol: after[new_symbol]},
        )
    else:
        book(broker, account, activity, row={**leaving, **group}, shares={symbol: text(-gone)}, lots=after)


def becomes(action: dict, symbol: str) -> tuple[str, Decimal]:
    """What a share becomes: of which symbol, how many."""

    def rates(new: str, old: str) -> Decimal:
        return Decimal(action[new]) / Decimal(action[old])

    kind = action["type"]
    if kind in ("forward_split", "reverse_split"):
        return symbol, rates("new_rate", "old_rate")
    if kind == "stock_dividend":
        return symbol, 1 + Decimal(action["rate"])
    if kind in ("stock_merger", "stock_and_cash_merger"):
        return action["acquirer_symbol"], rates("acquirer_rate", "acquiree_rate")
    return (action["new_symbol"], Decimal(1)) if kind == "name_change" else (symbol, Decimal(0))


def _scaled(lots: list[Lot], rate: Decimal) -> list[Lot]:
    """The lots times a rate, rounded down over all of them; what becomes nothing leaves its cost to the next.

    >>> [lot.quantity for lot in _scaled([Lot("1", "", Decimal(1), Decimal(5)), Lot("2", "", Decimal(2), Decimal(7))], Decimal(1) / 3)]
    [Decimal('0.333333333'), Decimal('0.666666667')]
    """
    scaled: list[Lot] = []
    held, reached, waiting = Decimal(0), Decimal(0), Decimal(0)
    for lot in lots:
        held += lot.quantity
        # a third of three is one: undo what the division of the rates cut off
        target = (held * rate).quantize(NANO * NANO).quantize(NANO, ROUND_DOWN)
        if target != reached:
            scaled.append(lot._replace(quantity=target - reached, cost=lot.cost + waiting))
            waiting = Decimal(0)
        else:
            waiting += lot.cost
        reached = target
    if waiting and scaled:
        scaled[-1] = scaled[-1]._replace(cost=scaled[-1].cost + waiting)
    return scaled


def _spin_off(broker: "Broker", account: Account, action: dict, symbol: str) -> None:
    rate = Decimal(action["new_rate"]) / Decimal(action["source_rate"])
    part = Decimal(action.get("basis_rate") or 0)
    old, quantity, cost = account.lots[symbol], account.quantity(symbol), account.cost(symbol)
    taken = [cents(lot.cost * part) for lot in old]
    moved = sum(taken, Decimal(0))
    new = _scaled([lot._replace(cost=its) for lot, its in zip(old, taken, strict=True)], rate)
    come = sum((lot.quantity for lot in new), Decimal(0))
    group = {"group_id": broker.new_id()}
    kind = action.get("activity_type") or "SPIN"
    words = f"Stock SpinOff {symbol} -> {action['new_symbol']}"
    if moved:
        kept = [lot._replace(cost=lot.cost - its) for lot, its in zip(old, taken, strict=True)]
        out = {
            "symbol": symbol,
            "qty": text(-quantity),
            "price": _each(cost, quantity),
            "description": f"REMOVE, {words}",
        }
        back = {
            "symbol": symbol,
            "qty": text(quantity),
            "price": _each(cost - moved, quantity),
            "description": f"ADD, {words}",
        }
        book(broker, account, kind, row={**out, **group}, shares={symbol: text(-quantity)}, lots={symbol: []})
        book(
            broker, account, kind, row={**back, **group}, shares={symbol: text(quantity)}, lots={symbol: as_rows(kept)}
        )
    new_symbol = action["new_symbol"]
    held = sorted([*account.lots.get(new_symbol, []), *new], key=lambda lot: lot.acquired_at)
    row = {"symbol": new_symbol, "qty": text(come), "price": _each(moved, come), "description": words, **group}
    book(broker, account, kind, row=row, shares={new_symbol: text(come)}, lots={new_symbol: as_rows(held)})


def _entitle(broker: "Broker", account: Account, action: dict, symbol: str) -> None:
    broker.emit("entitled", account, action_id=action["id"], quantity=text(account.quantity(symbol)))


def _pay(broker: "Broker", account: Account, action: dict, symbol: str) -> None:
    quantity, rate = account.entitled[action["id"]], action["rate"]
    amount = cents(quantity * Decimal(rate))
    words = f"Cash DIV @ {rate}, Pos QTY: {text(quantity)}, Rec Date: {action['record_date']}"
    row = {"symbol": symbol, "qty": text(quantity), "per_share_amount": rate, "description": words}
    group = {"group_id": broker.new_id()}
    book(
        broker,
        account,
        action.get("activity_type") or "DIV",
        net=amount,
        row={**row, **group, "activity_sub_type": "CDIV"},
    )
    if withheld := cents(amount * Decimal(action.get("withholding_rate") or 0)):
        row = {"symbol": symbol, "description": f"DIV tax withholding on ${text(amount)}", **group}
        book(broker, account, "DIVNRA", net=-withheld, row=row)


def _reprice(broker: "Broker", action: dict, symbol: str) -> None:
    """What the security trades at from now on, until its next price."""
    last = broker.market.last(symbol, broker.clock)
    kind, at = action["type"], broker.clock.isoformat()
    if kind == "spin_off" and action.get("new_price"):
        broker.emit("price", symbol=action["new_symbol"], price_at=at, price=action["new_price"])
    if last is None or last.at >= dict(steps(action))["positions"]:
        return  # it trades already as it is after the action
    if kind not in ("forward_split", "reverse_split", "name_change", "stock_dividend"):
        return
    new_symbol, rate = becomes(action, symbol)
    broker.emit("price", symbol=new_symbol, price_at=at, price=text(to_tick(last.price / rate)))


# Options --------------------------------------------------------------------------------------------------


def contract(symbol: str) -> tuple[str, str, Decimal]:
    """Underlying, C or P, and strike of an option's symbol.

    >>> contract("AAPL231103C00170000")
    ('AAPL', 'C', Decimal('170'))
    """
    return symbol[:-15], symbol[-9], Decimal(symbol[-8:]) / 1000


def expires_on(symbol: str) -> date:
    return datetime.strptime(symbol[-15:-9], "%y%m%d").date()


def expire_options(broker: "Broker") -> None:
    """At the close of the last day: worth a cent or more is exercised or assigned, the rest is gone."""
    today = new_york(broker.clock)
    for account in broker.books.accounts.values():
        for symbol in [s for s in account.lots if is_option(s) and expires_on(s) <= today]:
            underlying, kind, strike = contract(symbol)
            price = broker.price(underlying)
            worth = Decimal(0) if price is None else (price - strike) * (1 if kind == "C" else -1)
            end_option(broker, account, symbol, account.quantity(symbol), exercised=worth >= Decimal("0.01"))


def end_option(broker: "Broker", account: Account, symbol: str, contracts: Decimal, *, exercised: bool) -> None:
    """Contracts that end (negative: they were written), with the trade in the shares where they are exercised."""
    underlying, kind, strike = contract(symbol)
    activity, words = ("OPEXP", "Option Expiry")
    if exercised:
        activity, words = ("OPEXC", "Option Exercise") if contracts > 0 else ("OPASN", "Option Assignment")
    group = {"group_id": broker.new_id()}
    lots, _ = relieved(account.lots[symbol], -contracts, Decimal(0), broker.new_id(), broker.clock.isoformat())
    row = {"symbol": symbol, "qty": text(-contracts), "description": words, **group}
    book(broker, account, activity, row=row, shares={symbol: text(-contracts)}, lots={symbol: as_rows(lots)})
    if not exercised:
        return
    shares = contracts * 100 * (1 if kind == "C" else -1)
    amount = cents(-shares * strike)
    row = {"symbol": underlying, "qty": text(shares), "price": text(strike), "description": "Option Trade", **group}
    settles = str(broker.market.exchange.settles_on(broker.clock))
    with_shares = moved(broker, account, underlying, shares, -amount)
    book(broker, account, "OPTRD", net=amount, row=row, settles_on=settles, **with_shares)


def moved(broker: "Broker", account: Account, symbol: str, quantity: Decimal, cost: Decimal) -> dict[str, Any]:
    """Shares that come or go by no order, and the lots after it."""
    held = account.lots.get(symbol, [])
    lots, _ = relieved(held, quantity, cost, broker.new_id(), broker.clock.isoformat())
    return {"shares": {symbol: text(quantity)}, "lots": {symbol: as_rows(lots)}}


def as_rows(lots: list[Lot]) -> list[list]:
    return [[lot.lot_id, lot.acquired_at, text(lot.quantity), text(lot.cost)] for lot in lots]


def _each(cost: Decimal, quantity: Decimal) -> str:
    return text((cost / quantity).quantize(Decimal("0.0001"))) or "0"
