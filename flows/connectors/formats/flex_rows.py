"""One element of a Flex statement -> one row of activities.

A function raises ValueError with what is in the way; the row then stays under the element's name and those words.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal

from flows.connectors.formats import ACTIVITY_COLUMNS
from flows.connectors.formats.flex_xml import Element

KIND_COLUMNS = ("ratio", "new_security_id", "underlying_id", "right", "strike_usd", "multiplier")
COLUMNS = (*ACTIVITY_COLUMNS, *KIND_COLUMNS, "note", "said", "account")
Row = dict[str, str | int]

MICRO = Decimal("0.000001")
SHARES = ("STK", "FUND")
CASH = {
    "dividends": "dividend",
    "payment in lieu of dividends": "dividend",
    "withholding tax": "fee",
    "871(m) withholding": "fee",
    "broker interest received": "interest",
    "broker interest paid": "interest",
    "bond interest received": "interest",
    "bond interest paid": "interest",
    "other fees": "fee",
    "advisor fees": "fee",
    "commission adjustments": "fee",
    "deposits/withdrawals": "deposit",
    "deposits & withdrawals": "deposit",
}
BY_ITSELF = {"A": "option_assign", "Ex": "option_exercise", "Ep": "option_expire"}  # what IBKR's codes book
PER_SHARE = re.compile(r"(?:USD ([\d,.]+)|([\d,.]+) USD) PER SHARE")


def symbol(text: str) -> str:
    """IBKR's symbol in the form that is the same at every broker: class with a point, options as the OCC writes them.

    >>> symbol("BRK B"), symbol("ORCL  171117C00050000"), symbol("SPY")
    ('BRK.B', 'ORCL171117C00050000', 'SPY')
    """
    is_option = re.fullmatch(r"\S{1,6} *\d{6}[CP]\d{8}", text)
    return text.replace(" ", "") if is_option else text.replace(" ", ".")


def micro(usd: Decimal) -> str:
    """
    >>> micro(Decimal("-844.94505725")), micro(Decimal("19"))
    ('-844.945057', '19')
    """
    rounded = usd.quantize(MICRO, ROUND_HALF_UP)
    return f"{usd:f}" if rounded == usd else f"{rounded:f}"


def with_rebate(side: str, quantity: Decimal, price_usd: Decimal, fee_usd: Decimal) -> tuple[Decimal, Decimal]:
    """Price and fee of a trade; what the broker pays for it is part of the price, since a fee is zero or more.

    Errors   ValueError where nine decimals of a price cannot say it to the cent.

    >>> with_rebate("buy", Decimal(100), Decimal("50.25"), Decimal("-0.35"))
    (Decimal('50.246500000'), Decimal('0'))
    """
    if fee_usd >= 0 or not quantity:
        return price_usd, fee_usd
    each = fee_usd / quantity
    price = (price_usd + each if side == "buy" else price_usd - each).quantize(Decimal("1e-9"), ROUND_HALF_UP)
    whole = quantity * price_usd + (fee_usd if side == "buy" else -fee_usd)
    if abs(quantity * price - whole) >= Decimal("0.005"):
        raise ValueError(f"its rebate of {-fee_usd} cannot be part of the price of {quantity} shares")
    return price, Decimal(0)


def row(element: Element, kind: str, at: str, **columns: str) -> Row:
    empty: dict[str, str] = dict.fromkeys(COLUMNS, "")
    said = {
        "id": element.id, "at": at, "kind": kind, "symbol": symbol(element.get("symbol")),
        "note": element.get("description"), "account": element.account,
    }  # fmt: skip
    return {"line": element.line, **empty, **said, **columns}


def kept(element: Element, why: str) -> Row:
    """A row that is not translated: what it says of shares and money stands in `said`, in its own currency."""
    told = ("assetCategory", "buySell", "quantity", "tradePrice", "currency", "amount", "netCash", "type", "notes")
    facts = "; ".join(f"{name} {text}" for name in told if (text := element.get(name)))
    return row(element, f"{element.tag}: {why}", element.at, said=facts)


def trade(element: Element) -> Row:
    """Shares or options for dollars."""
    category, codes = element.get("assetCategory"), element.codes
    dollars(element)
    if category == "OPT":
        return _option(element)
    if category not in SHARES:
        raise ValueError(f"assetCategory {category!r} is not modelled")
    if "A" in codes or "Ex" in codes:
        raise ValueError("the shares of an exercise, without its option beside them")
    side, opens = _side(element), element.get("openCloseIndicator")
    if opens == "C;O":
        raise ValueError("it closes and opens at once: bring it as two rows")
    kind = {("sell", "O"): "short_open", ("buy", "C"): "short_close"}.get((side, opens), "trade")
    if kind == "trade" and side == "buy" and "R" in codes:
        kind = "dividend_reinvested"
    return row(element, kind, element.at, side=side, **_bought(element))


def taken_back(element: Element, ids: Mapping[str, str]) -> Row:
    """A trade that IBKR cancelled, under the id of that trade."""
    if element.get("origTradeID") not in ids:
        raise ValueError(
            f"of trade {element.get('origTradeID')}, which is not in this statement: ask for a longer period"
        )
    return row(element, "bust", element.at, id=ids[element.get("origTradeID")], amount_usd="0")


def exercised(option: Element, shares: Element) -> Row:
    """An exercise or assignment, with what the shares beside it moved in cash."""
    dollars(option)
    dollars(shares)
    kind = next(BY_ITSELF[code] for code in option.codes if code in BY_ITSELF)
    money = {name: text for name, text in _bought(shares).items() if name in ("fee_usd", "amount_usd")}
    return row(option, kind, option.at, quantity=f"{abs(option.number('quantity')):f}", **_terms(option), **money)


def exercises(told: Iterable[Element]) -> list[tuple[Element, Element]]:
    """Options that were exercised or assigned, each with the shares that moved for it at the strike."""
    moved: dict[tuple[str, str, Decimal], list[Element]] = defaultdict(list)
    events = [element for element in told if {"A", "Ex"} & set(element.codes)]
    for element in events:
        if element.get("assetCategory") in SHARES:
            key = (element.get("symbol"), element.day("tradeDate", "dateTime", "date"), element.number("tradePrice"))
            moved[key].append(element)
    pairs = []
    for element in events:
        if element.get("assetCategory") == "OPT":
            key = (
                element.get("underlyingSymbol"),
                element.day("tradeDate", "dateTime", "date"),
                element.number("strike"),
            )
            count = abs(element.number("quantity") * element.number("multiplier"))
            fit = next((shares for shares in moved[key] if abs(shares.number("quantity")) == count), None)
            if fit:
                moved[key].remove(fit)
                pairs.append((element, fit))
    return pairs


def cash(element: Element) -> Row:
    dollars(element)
    said, amount = element.get("type"), element.number("amount")
    at, usd = element.day("dateTime", "settleDate", "reportDate"), micro(amount)
    if said.lower() not in CASH:
        raise ValueError(f"type {said!r} is not known")
    kind = CASH[said.lower()]
    note = "; ".join(text for text in (element.get("description"), said, _rounded(element, "amount")) if text)
    if kind == "deposit":
        return row(element, "deposit" if amount >= 0 else "withdrawal", at, amount_usd=usd, note=note)
    if kind == "dividend" and "(Return of Capital)" in element.get("description"):
        found = PER_SHARE.search(element.get("description"))
        if not found or amount <= 0:
            raise ValueError("a return of capital that does not say how much a share, or takes one back")
        price = (found[1] or found[2]).replace(",", "")
        return row(element, "return_of_capital", at, price_usd=price, amount_usd=usd, note=note)
    return row(element, kind, at, amount_usd=usd, note=note)


def tax(element: Element) -> Row:
    """Taxes that stand in no trade."""
    dollars(element)
    if element.tag == "TransactionTax" and element.get("source") != "STANDALONE":
        raise ValueError("whether its trade contains it already is not said")
    amount = element.number("taxAmount" if element.tag == "TransactionTax" else "salesTax")
    note = element.get("taxDescription") or element.get("taxableDescription")
    return row(element, "fee", element.day("date", "reportDate"), amount_usd=micro(amount), note=note)


def transfer(element: Element) -> Row:
    cash_moved = element.number("cashTransfer")
    if cash_moved and not element.number("quantity"):
        dollars(element)
        kind = "deposit" if cash_moved > 0 else "withdrawal"
        return row(element, kind, element.day("date", "dateTime"), amount_usd=micro(cash_moved))
    way = "came in" if element.get("direction").upper() == "IN" else "went out"
    raise ValueError(
        f"shares {way} by {element.get('type')}: say them as a transfer or gift, with their basis (docs/lots.md)"
    )


def dollars(element: Element) -> None:
    if (currency := element.get("currency")) != "USD":
        raise ValueError(f"in {currency or 'a currency that is not said'}, and not in USD")


def _side(element: Element) -> str:
    side = element.get("buySell").upper()
    if side not in ("BUY", "SELL"):
        raise ValueError(f"buySell {side!r} is not BUY or SELL")
    return side.lower()


def _bought(element: Element) -> dict[str, str]:
    """Quantity, price, fee and cash of a trade."""
    if not element.get("tradePrice"):
        raise ValueError("tradePrice is missing: add it to the query")
    commission, taxes = element.number("ibCommission"), element.number("taxes")
    paid_in = element.get("ibCommissionCurrency")
    if commission and paid_in not in ("", "USD"):
        raise ValueError(f"its commission is in {paid_in}, and not in USD")
    if not element.get("netCash") and not element.get("proceeds"):
        raise ValueError("netCash is missing: add it to the query")
    net = element.number("netCash") if element.get("netCash") else element.number("proceeds") + commission + taxes
    quantity = abs(element.number("quantity"))
    count = quantity * (element.number("multiplier") or 1)
    price, fee = with_rebate(_side(element), count, element.number("tradePrice"), -(commission + taxes))
    rebate = f"with a rebate of {commission + taxes} at {element.get('tradePrice')}" if commission + taxes > 0 else ""
    noted = [element.get("description"), _rounded(element, "netCash"), _rounded(element, "ibCommission"), rebate]
    return {
        "quantity": f"{quantity:f}",
        "price_usd": f"{price:f}",
        "fee_usd": micro(fee) if fee else "0",
        "amount_usd": micro(net),
        "note": "; ".join(text for text in noted if text),
    }


def _rounded(element: Element, name: str) -> str:
    """What was stated, where the ledger keeps fewer decimals."""
    number = element.number(name)
    return f"{name} {element.get(name)}" if Decimal(micro(number)) != number else ""


def _option(element: Element) -> Row:
    side, opens = _side(element), element.get("openCloseIndicator")
    by_itself = [code for code in element.codes if code in BY_ITSELF]
    if by_itself and by_itself != ["Ep"]:
        raise ValueError("an exercise, without the shares of its strike beside it")
    if not by_itself and opens not in ("O", "C"):
        raise ValueError(f"openCloseIndicator {opens!r} does not say whether it opens or closes: add it to the query")
    kind = "option_expire" if by_itself else {"O": "option_open", "C": "option_close"}[opens]
    return row(element, kind, element.at, side=side, **_bought(element), **_terms(element))


def _terms(element: Element) -> dict[str, str]:
    right = {"C": "call", "P": "put"}.get(element.get("putCall").upper())
    underlying, strike, multiplier = (
        element.get("underlyingSymbol"),
        element.number("strike"),
        element.number("multiplier"),
    )
    if not (right and underlying and strike and multiplier):
        raise ValueError("underlyingSymbol, putCall, strike or multiplier is missing: add them to the query")
    return {
        "underlying_id": symbol(underlying), "right": right, "strike_usd": f"{strike:f}", "multiplier": f"{multiplier:f}",
    }  # fmt: skip
