"""Interactive Brokers' Flex Query statements, in XML.

The problem: a statement tells one thing on several levels (execution, order, symbol; detail, summary), in several
sections, in any currency, in the fields that its owner ticked; a correction stands beside what it corrects.

The choice: every element is translated (`flex_rows`, `flex_actions`), or named in REPEATS as one that tells again what
another tells, or kept under words of its own, so that the contract of activities sets it aside. An element or
attribute that is not known is never a reason to fail. The XML is read with the standard library's expat, which knows
each row's line. ibflex is not used: it tells no line, and an unexpected element or a wrong count makes it refuse a
whole file (2 of the 24 real statements that the tests read).

An execution's id is IBKR's without its revision (0000d514.5159662d.01.02 -> 0000d514.5159662d.01), so that a
corrected execution restates the one before it, and a fill is one row whether the gateway or a statement told it.

Units    dollars to six decimals, half-up, as the ledger keeps them; IBKR states eight. What was rounded is in `note`.
Omits    amounts in other currencies: IBKR rounds its rates to five digits, so a dollar amount would not be exact. The
         basis that goes with a spin-off (Form 8937), the share's price when a put is written, what tendered shares
         become, where transferred shares come from: a statement does not say. Tax withheld is a fee and a payment in
         lieu a dividend; their notes say what they were.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import polars as pl

from flows.connectors import Unavailable
from flows.connectors.formats import Statement
from flows.connectors.formats.flex_actions import actions
from flows.connectors.formats.flex_rows import (
    COLUMNS,
    Row,
    cash,
    exercised,
    exercises,
    kept,
    symbol,
    taken_back,
    tax,
    trade,
    transfer,
)  # fmt: skip
from flows.connectors.formats.flex_xml import Element, elements

POSITIONS = ("symbol", "quantity", "cost_usd", "as_of", "account")
BANK_LINES = ("id", "posted_on", "description", "amount_usd", "account")
CENT = Decimal("0.01")
REPEATS = frozenset(
    (
        "AccountInformation", "CashReportCurrency", "ChangeInDividendAccrual", "ChangeInNAV", "ChangeInPositionValue",
        "ConversionRate", "EquitySummaryByReportDateInBase", "EquitySummaryInBase", "FIFOPerformanceSummaryUnderlying",
        "FlexStatement", "FxLot", "FxPosition", "FxTransaction", "InterestAccrualsCurrency", "Lot",
        "MTDYTDPerformanceSummaryUnderlying", "MTMPerformanceSummaryUnderlying", "NetStockPosition", "OpenDividendAccrual",
        "OpenPosition", "PriorPeriodPosition", "SLBActivity", "SLBOpenContract", "SecurityInfo", "StatementOfFundsLine",
        "TierInterestDetail", "UnbundledCommissionDetail", "WashSale",
    )
)  # fmt: skip
SUMMARIES = ("Order", "SymbolSummary", "AssetSummary")  # of the executions beside them
EXECUTION = ("", "EXECUTION")  # the level of a trade; empty where the query leaves it out
TRANSLATED: dict[str, Callable[[Element], Row]] = {
    "Trade": trade, "CashTransaction": cash, "TransactionTax": tax, "SalesTax": tax, "Transfer": transfer,
}  # fmt: skip
OPTION_EVENTS = {"assignment": "A", "exercise": "Ex", "expiration": "Ep"}  # IBKR's code in the section of trades


def read(file: Path) -> Statement:
    """What a Flex statement says, of all of its accounts.

    Errors   Unavailable where the file is no Flex statement, and why.
    """
    by_statement: dict[int, list[Element]] = defaultdict(list)
    for element in elements(file):
        by_statement[element.statement].append(element)
    if not by_statement:
        raise Unavailable(f"{file} holds no FlexStatement: save the answer of a Flex Query of type Activity, as XML")
    told = list(by_statement.values())
    spoken = {one[0].account: max(o[0].day("toDate") for o in told if o[0].account == one[0].account) for one in told}
    try:
        stated_on = min(date.fromisoformat(day) for day in spoken.values())
    except ValueError:
        raise Unavailable(f"{file}: toDate is no day like 20251231: set the query's date format to yyyyMMdd") from None
    return Statement(
        stated_on,
        tuple(spoken),
        _frame(_numbered([row for one in told for row in _activities(one)]), COLUMNS),
        _frame([row for one in told for row in _positions(one)], POSITIONS),
        _frame([], BANK_LINES),
    )


def _activities(told: Sequence[Element]) -> list[Row]:
    """The rows of one FlexStatement, in the order of the file; what companies did first."""
    executions = [e for e in told if e.tag == "Trade" and e.level in EXECUTION]
    has_details = any(e.tag == "CashTransaction" and e.level == "DETAIL" for e in told)
    ids = {e.get("tradeID"): e.id for e in executions if e.get("tradeID") and not _is_cancel(e)}
    as_trades = _option_events(told, executions)
    pairs = exercises([*executions, *as_trades.values()])
    options = {option.number_in_file: (option, shares) for option, shares in pairs}
    done = {shares.number_in_file for _, shares in pairs} | _superseded(executions, ids)
    rows = actions(e for e in told if e.tag == "CorporateAction")
    for element in told:
        number, is_trade = element.number_in_file, element.tag == "Trade" and element.level in EXECUTION
        is_summary = (element.tag == "CashTransaction" and element.level == "SUMMARY" and has_details) or (
            (element.tag in SUMMARIES or element.tag == "Trade") and executions and not is_trade
        )
        told_already = element.tag == "OptionEAE" and number not in as_trades
        if element.tag in REPEATS or element.tag == "CorporateAction" or number in done or is_summary or told_already:
            continue
        try:
            if number in options:
                rows.append(exercised(*options[number]))
            elif is_trade and _is_cancel(element):
                rows.append(taken_back(element, ids))
            elif number in as_trades:
                rows.append(trade(as_trades[number]))
            elif element.tag in TRANSLATED and (is_trade or element.tag != "Trade"):
                rows.append(TRANSLATED[element.tag](element))
            else:
                raise ValueError("it is not translated")
        except ValueError as why:
            rows.append(kept(element, str(why)))
    return rows


def _superseded(executions: Sequence[Element], ids: Mapping[str, str]) -> set[int]:
    """Executions that a later revision or a cancellation of the same trade replaces, by IBKR's numbers."""
    last: dict[str, int] = {}
    for e in sorted(executions, key=lambda e: int(n) if (n := e.get("transactionID")).isdigit() else 0):
        last[ids.get(e.get("origTradeID"), e.id) if _is_cancel(e) else e.id] = e.number_in_file
    told_by_number = {e.number_in_file for e in executions if not e.id.startswith("flex-") or _is_cancel(e)}
    return told_by_number - set(last.values())


def _is_cancel(element: Element) -> bool:
    return element.get("transactionType").endswith("Cancel")


def _option_events(told: Sequence[Element], executions: Sequence[Element]) -> dict[int, Element]:
    """Exercises, assignments and expirations that only their own section tells, in the words of a trade."""
    known = {(e.get("symbol"), e.day("tradeDate", "dateTime")) for e in executions if {"A", "Ex", "Ep"} & set(e.codes)}
    fresh = [e for e in told if e.tag == "OptionEAE" and (e.get("symbol"), e.day("date")) not in known]
    of_day = {
        (e.get("underlyingSymbol"), e.day("date")): e.get("transactionType").lower() for e in fresh if e.get("putCall")
    }
    return {
        e.number_in_file: e._replace(
            said={
                **e.said,
                "tradeDate": e.get("date"),
                "notes": OPTION_EVENTS.get(of_day.get((e.get("underlyingSymbol"), e.day("date")), ""), "A"),
                "buySell": "SELL" if e.get("quantity").startswith("-") else "BUY",
                "ibCommission": e.get("commisionsAndTax"),
            }
        )
        for e in fresh
    }


def _numbered(rows: list[Row]) -> list[Row]:
    """Rows to which IBKR gave no number and which say the same are told apart by their count."""
    seen: Counter[str] = Counter()
    for row in rows:
        if str(row["id"]).startswith("flex-"):
            seen[str(row["id"])] += 1
            row["id"] = f"{row['id']}-{seen[str(row['id'])]}"
    return rows


def _positions(told: Sequence[Element]) -> list[Row]:
    """Shares and contracts by symbol; cash of each currency, where it is a cent or more."""
    on = told[0].day("toDate")
    held = [e for e in told if e.tag == "OpenPosition"]
    whole = [e for e in held if e.level != "LOT"] or held
    totals: dict[str, Row] = {}
    for e in whole:
        name, is_usd = symbol(e.get("symbol")), e.get("currency") == "USD"
        quantity, cost = e.number("position"), e.number("costBasisMoney")
        if name in totals:  # lots
            quantity, cost = quantity + Decimal(totals[name]["quantity"]), cost + Decimal(totals[name]["cost_usd"] or 0)
        totals[name] = {
            "line": e.line, "symbol": name, "quantity": f"{quantity:f}", "cost_usd": f"{cost:f}" if is_usd else "",
            "as_of": e.day("reportDate") or on, "account": e.account,
        }  # fmt: skip
    for e in told:
        if e.tag != "CashReportCurrency" or e.get("currency") in ("", "BASE_SUMMARY"):
            continue
        name = "USD" if e.get("currency") == "USD" else f"CASH.{e.get('currency')}"
        for suffix, column in (("", "endingCash"), (".settled", "endingSettledCash")):
            if name != "USD" and (suffix or not e.number(column).quantize(CENT, ROUND_HALF_UP)):
                continue  # parts of a cent that a conversion left over
            if e.get(column):
                totals[name + suffix] = {
                    "line": e.line, "symbol": name + suffix, "quantity": f"{e.number(column):f}", "cost_usd": "",
                    "as_of": e.day("toDate") or on, "account": e.account,
                }  # fmt: skip
    return list(totals.values())


def _frame(rows: list[Row], columns: tuple[str, ...]) -> pl.DataFrame:
    schema = {"line": pl.Int64} | dict.fromkeys(columns, pl.String)
    return pl.DataFrame(rows, schema=schema, orient="row")
