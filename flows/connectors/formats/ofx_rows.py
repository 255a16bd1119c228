"""One transaction of OFX -> one of our rows. OFX's own words for what is not translated stay, and say what they said."""

import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

from flows.connectors.formats.numbers import option_name, plain, read_day, settled_price, signed, total, value

Leaves = dict[str, str]
Row = dict[str, str | int]
TRADES = {
    f"{what}{of}" for what in ("BUY", "SELL") for of in ("DEBT", "MF", "OPT", "OTHER", "STOCK")
}  # fmt: skip
INCOME = {"DIV": "dividend", "CGLONG": "dividend", "CGSHORT": "dividend", "INTEREST": "interest"}
BANKING = {"INT": "interest", "DIV": "dividend", "FEE": "fee", "SRVCHG": "fee"}
SIDES = {  # how a trade opens or closes -> kind and side; by what the tag says where it says nothing
    "BUY": ("trade", "buy"), "BUYTOCOVER": ("short_close", "buy"), "SELL": ("trade", "sell"), "SELLSHORT": ("short_open", "sell"),
    "BUYTOOPEN": ("option_open", "buy"), "BUYTOCLOSE": ("option_close", "buy"), "SELLTOOPEN": ("option_open", "sell"),
    "SELLTOCLOSE": ("option_close", "sell"),
}  # fmt: skip


def ofx_day(said: str) -> str:
    """The day that OFX says, as it is written; its time zone is that of whoever wrote it.

    >>> ofx_day("20160929000000.000[-4:EDT]"), ofx_day("20120231")
    ('2016-09-29', "'20120231' is no day")
    """
    iso = f"{said[:4]}-{said[4:6]}-{said[6:8]}"
    found = read_day(iso) if said[:8].isdigit() else None
    return iso if found and found.year >= 1900 else f"{said[:40]!r} is no day" if said else ""


def through(said: str) -> date | None:
    """The last trading day that a moment speaks for: before the close, it is the day before; at weekends, Friday.

    >>> through("20120911033034.000[-4:EDT]"), through("20120911"), through("20120908190849.555[-4:EDT]")
    (datetime.date(2012, 9, 10), datetime.date(2012, 9, 11), datetime.date(2012, 9, 7))
    """
    on, hour = read_day(ofx_day(said)), said[8:12]
    if on and hour.isdigit() and "0000" < hour < "1600":
        on -= timedelta(days=1)
    return on - timedelta(days=max(0, on.weekday() - 4)) if on else None


def fault_of(leaves: Leaves, number: int, name: str) -> str:
    """Why a row cannot be used at all."""
    on = next((leaves[tag] for tag in ("DTTRADE", "DTPOSTED") if tag in leaves), "")
    if read_day(ofx_day(on)) is None:
        return f"{name} {number} has no day like 20251231; there stands {on[:40] or 'nothing'}"
    if (currency := leaves["CURDEF"]) != "USD":
        return f"{name} {number} is in {currency[:20] or 'a currency that it does not say'}, not in USD"
    said = next((leaves[tag] for tag in ("TRNAMT", "TOTAL") if tag in leaves), None)
    if name == "STMTTRN" and (said is None or value(_number(said)) is None):
        return f"{name} {number} has no amount like -12.34; there stands {(said or 'nothing')[:40]}"
    return ""


def _number(said: str) -> str:
    """OFX's numbers have no currency signs and no thousands; a comma may be the decimal point."""
    text = said.strip().removeprefix("+")
    return (
        plain(text.replace(",", ".") if "." not in text and text.count(",") == 1 else text)
        if "$" not in text
        else f"{text!r} is no number"
    )


def _amount(leaves: Leaves, tag: str) -> str:
    amount, currency = _number(leaves.get(tag, "")), leaves["CURDEF"]
    return amount if currency == "USD" else f"{amount} {currency or '(no currency said)'}"


def bank_line(leaves: Leaves) -> Row:
    words = dict.fromkeys(leaves[tag] for tag in ("NAME", "MEMO") if tag in leaves)
    description = " ".join(one for one in words if not any(one != other and one in other for other in words))
    return {
        "id": leaves.get("FITID", ""), "posted_on": ofx_day(leaves.get("DTPOSTED", "")), "description": description,
        "amount_usd": _amount(leaves, "TRNAMT"),
    }  # fmt: skip


def activity(name: str, leaves: Leaves) -> Row:
    fee = total(
        [signed(_number(leaves.get(tag, "")), is_negative=False) for tag in ("COMMISSION", "FEES", "TAXES", "LOAD")]
    )
    row: Row = {
        "id": leaves.get("FITID", ""), "at": ofx_day(leaves.get("DTTRADE", leaves.get("DTPOSTED", ""))), "kind": name,
        "side": "", "symbol": leaves.get("UNIQUEID", ""),
        "quantity": _number(leaves.get("UNITS", "")), "price_usd": _number(leaves.get("UNITPRICE", "")),
        "fee_usd": fee, "amount_usd": _amount(leaves, "TOTAL" if "TOTAL" in leaves else "TRNAMT"), "lots": "",
    }  # fmt: skip
    if leaves["CURDEF"] != "USD":
        return row | {"note": f"in {leaves['CURDEF'] or 'a currency that it does not say'}, not in USD"}
    return row | (_trade if name in TRADES else _KINDS.get(name, _untranslated))(name, leaves, row)


def _trade(name: str, leaves: Leaves, row: Row) -> Row:
    how = next(
        (leaves[tag].upper() for tag in ("BUYTYPE", "SELLTYPE", "OPTBUYTYPE", "OPTSELLTYPE") if tag in leaves), ""
    )
    kind, side = SIDES.get(how or name.removesuffix("STOCK").removesuffix("MF").removesuffix("OTHER"), ("", ""))
    if not kind or (name.endswith("OPT") != kind.startswith("option")):
        return {"note": f"{how or 'no type of purchase or sale'}: does it open or close?"}
    is_buy = side == "buy"
    quantity, amount = value(str(row["quantity"]).lstrip("-")), value(str(row["amount_usd"]))
    if quantity is None or amount is None:
        return {"note": "units or total missing"}
    said = plain(leaves.get("SHPERCTRCT", "")) if name.endswith("OPT") else "1"
    per = int(said) if said.isdigit() and 0 < int(said) < 10_000 else 100
    fee = value(str(row["fee_usd"])) or Decimal(0)
    accrued = value(_number(leaves.get("ACCRDINT", ""))) or Decimal(0)
    price = settled_price(quantity, str(row["price_usd"]), fee, abs(amount), is_buy=is_buy, accrued=accrued, per=per)
    if price is None:
        return {"note": "units x unitprice is not the total"}
    numbers = {
        "quantity": f"{quantity}",
        "price_usd": price,
        "amount_usd": signed(str(row["amount_usd"]), is_negative=is_buy),
    }
    return {"kind": kind, "side": side, **numbers, **({"multiplier": str(per)} if name.endswith("OPT") else {})}


def _reinvest(name: str, leaves: Leaves, row: Row) -> Row:
    made = _trade("BUYMF", {**leaves, "BUYTYPE": "BUY"}, row)
    return {**made, "kind": "dividend_reinvested"} if made.get("kind") else made


def _income(name: str, leaves: Leaves, row: Row) -> Row:
    kind = INCOME.get(leaves.get("INCOMETYPE", "").upper(), "")
    return (
        {"kind": kind, "quantity": "", "price_usd": ""} if kind else {"note": "income of a kind that it does not say"}
    )


def _paid(kind: str) -> Callable[[str, Leaves, Row], Row]:
    return lambda name, leaves, row: {
        "kind": kind,
        "quantity": "",
        "price_usd": "",
        "amount_usd": signed(str(row["amount_usd"]), is_negative=True),
    }


def _banking(name: str, leaves: Leaves, row: Row) -> Row:
    said = BANKING.get(leaves.get("TRNTYPE", "").upper())
    return {"kind": said or ("withdrawal" if str(row["amount_usd"]).startswith("-") else "deposit")}


def _split(name: str, leaves: Leaves, row: Row) -> Row:
    new, old = _number(leaves.get("NUMERATOR", "")), _number(leaves.get("DENOMINATOR", ""))
    if not value(new) or not value(old):
        return {"note": "the ratio is missing"}
    return {"kind": "split", "ratio": f"{new}:{old}", "quantity": "", "price_usd": "", "amount_usd": ""}


def _closure(name: str, leaves: Leaves, row: Row) -> Row:
    if leaves.get("OPTACTION", "").upper() != "EXPIRE":
        return {"note": "an exercise or assignment: its shares stand in a row of their own"}
    quantity = str(row["quantity"])
    return {
        "kind": "option_expire",
        "side": "sell" if quantity.startswith("-") else "buy",
        "quantity": quantity.lstrip("-"),
        "price_usd": "",
        "amount_usd": "",
    }


def _untranslated(name: str, leaves: Leaves, row: Row) -> Row:
    return {"note": "not translated"}


_KINDS: dict[str, Callable[[str, Leaves, Row], Row]] = {
    "REINVEST": _reinvest,
    "INCOME": _income,
    "INVEXPENSE": _paid("fee"),
    "MARGININTEREST": _paid("interest"),
    "STMTTRN": _banking,
    "SPLIT": _split,
    "CLOSUREOPT": _closure,
}


def position(leaves: Leaves) -> Row:
    units = _number(leaves.get("UNITS", ""))
    units = signed(units, is_negative=True) if leaves.get("POSTYPE", "").upper() == "SHORT" else units
    return {"symbol": leaves.get("UNIQUEID", ""), "quantity": units, "cost_usd": ""}


def name_security(row: Row, securities: dict[str, Leaves]) -> None:
    """The ticker in place of a CUSIP, where the file says it; of an option its terms too."""
    said = securities.get(str(row.get("symbol", "")), {})
    terms = _terms(said, securities)
    row["symbol"] = said.get("TICKER") or row.get("symbol", "")
    if not str(row.get("kind", "")).startswith("option"):
        row["symbol"] = terms["symbol"] if terms else row["symbol"]
    elif terms:
        row |= {**terms, "multiplier": row.get("multiplier") or "100"}
    else:
        row |= {"kind": "OPTION", "side": "", "note": "the file does not say the terms of the option"}


def _terms(said: Leaves, securities: dict[str, Leaves]) -> Row | None:
    strike, expires = value(_number(said.get("STRIKEPRICE", ""))), read_day(ofx_day(said.get("DTEXPIRE", "")))
    right = said.get("OPTTYPE", "").lower()
    if not strike or strike >= 100_000 or not expires or right not in ("call", "put"):
        return None
    under = securities.get(said.get("UNDERLYING", ""), {})
    name = under.get("TICKER") or re.split(r"[\s\d]", said.get("TICKER", ""))[0]
    symbol = option_name(name, expires, right, strike)
    return {"symbol": symbol, "underlying_id": name, "right": right, "strike_usd": f"{strike:f}"}


def with_income(row: Row) -> list[Row]:
    """A reinvestment is a dividend and what was bought with it: OFX says both in one row."""
    if row["kind"] != "dividend_reinvested":
        return [row]
    paid = {
        "quantity": "",
        "price_usd": "",
        "fee_usd": "",
        "amount_usd": str(row["amount_usd"]).lstrip("-"),
        "side": "",
    }
    return [{**row, **paid, "kind": "dividend", "id": f"{row['id']}:income"}, row]
