"""What companies did, by IBKR's descriptions: "GCM(CA38501D2041) SPLIT 1 FOR 25 (GCM.OLD, GRAN COLOMBIA, CA38501D2041)".

One action is several rows, one a security that came or went; the rows of one day whose descriptions begin alike are
one action. Its day is the day of the report: IBKR posts in the evening what holds from the next session on.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from fractions import Fraction

from flows.connectors.formats.flex_rows import Row, dollars, kept, micro, row, symbol
from flows.connectors.formats.flex_xml import Element

HEAD = re.compile(r"(?P<symbol>[^()]+)\([^()]*\)\s+(?P<what>.*)")
NUMBER = r"(\d+(?:\.\d+)?)"
SPLIT = re.compile(rf"SPLIT {NUMBER} FOR {NUMBER}\b")
STOCK_DIVIDEND = re.compile(rf"STOCK DIVIDEND \S+ {NUMBER} FOR {NUMBER}\b")
SPIN_OFF = re.compile(rf"SPINOFF\s+{NUMBER} FOR {NUMBER}\b")
FOR_SHARES = re.compile(rf"MERGED\([^()]*\)\s+WITH \S+ {NUMBER} FOR {NUMBER}(?= \()")
FOR_CASH = re.compile(rf"MERGED\([^()]*\)\s+FOR USD {NUMBER} PER SHARE(?= \()")
NEW_NUMBER = re.compile(r"CUSIP/ISIN CHANGE TO \(\S+\)")
KNOWN = (SPLIT, STOCK_DIVIDEND, SPIN_OFF, FOR_SHARES, FOR_CASH, NEW_NUMBER)


def actions(told: Iterable[Element]) -> list[Row]:
    """A row for each action that is understood whole; of the others every row, under its own words."""
    groups: dict[tuple[str, str, str], list[Element]] = defaultdict(list)
    for element in told:
        description = element.get("description")
        found = next((match for known in KNOWN if (match := known.search(description))), None)
        begins = description[: found.end()] if found else description
        groups[element.account, element.day("reportDate", "dateTime"), begins].append(element)
    rows: list[Row] = []
    for group in groups.values():
        try:
            rows.append(_action(group))
        except ValueError as why:
            rows += [kept(element, str(why)) for element in group]
    return rows


def _action(group: list[Element]) -> Row:
    first = group[0]
    dollars(first)
    head = HEAD.match(first.get("description"))
    if not head:
        raise ValueError("its description is not understood")
    old, what = symbol(head["symbol"].strip()), head["what"]
    on = first.day("reportDate", "dateTime")
    came = [element for element in group if element.number("quantity") > 0]
    went = [element for element in group if element.number("quantity") < 0]
    new = symbol(came[0].get("symbol")) if came else ""
    if found := FOR_CASH.match(what):
        return _for_cash(group, found[1])
    if any(element.number("proceeds") for element in group):
        raise ValueError("it pays cash besides")
    if found := SPLIT.match(what):
        ratio = _ratio(found[1], found[2], came, went)
        return row(first, "split", on, symbol=old, ratio=ratio, amount_usd="0")
    if (found := STOCK_DIVIDEND.match(what)) and new == old and not went:
        ratio = f"{Fraction(found[1]) + Fraction(found[2])}:{found[2]}"
        return row(first, "split", on, symbol=old, ratio=ratio, amount_usd="0")
    if (found := SPIN_OFF.match(what)) and new and not went:
        return row(
            first, "spin_off", on, symbol=old, ratio=f"{found[1]}:{found[2]}", new_security_id=new, amount_usd="0"
        )
    if (found := FOR_SHARES.match(what)) and len(came) == len(went) == 1:
        ratio = _ratio(found[1], found[2], came, went)
        return row(first, "merger", on, symbol=old, ratio=ratio, new_security_id=new, amount_usd="0")
    if NEW_NUMBER.match(what) and new and new != old:
        return row(first, "symbol_change", on, symbol=old, new_security_id=new, amount_usd="0")
    raise ValueError("what the company did is not understood")


def _for_cash(group: list[Element], price: str) -> Row:
    """Shares taken for cash alone are sold."""
    sold = group[0]
    quantity, proceeds = -sold.number("quantity"), sold.number("proceeds")
    if len(group) > 1 or quantity <= 0 or Fraction(quantity) * Fraction(price) != Fraction(proceeds):
        raise ValueError("its proceeds are not its shares at the price that it says")
    return row(
        sold, "trade", sold.day("dateTime", "reportDate"), side="sell", quantity=f"{quantity:f}", price_usd=price,
        fee_usd="0", amount_usd=micro(proceeds),
    )  # fmt: skip


def _ratio(new: str, old: str, came: list[Element], went: list[Element]) -> str:
    """NEW:OLD as it is described, where the shares that came and went agree with it; fractions are paid in cash."""
    if not Fraction(new) or not Fraction(old):
        raise ValueError("its ratio holds a zero")
    if came and went:
        owed = -sum(Fraction(element.number("quantity")) for element in went) * Fraction(new) / Fraction(old)
        if abs(owed - sum(Fraction(element.number("quantity")) for element in came)) >= 1:
            raise ValueError("the shares that came are not those that went at the ratio that it says")
    return f"{new}:{old}"
