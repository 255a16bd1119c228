"""OFX and QFX -> a Statement: brokerages, banks and cards, several accounts in a file, every version of OFX.

The problem: files in the wild lack headers, closing tags and required fields, and name currencies of their own. A
reader that holds them to the specification refuses the whole file for one field. The choice: the markup is read in
one pass as tags and texts, and a transaction is what stands between its tag and the next one's, so that damage stays
in its row: a row without a day or an amount is delivered as it is and set aside. A file none of whose rows can be
used is refused. A library that knows the specification checks this reader in the tests.
"""

import html
import json
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from flows.connectors import Unavailable
from flows.connectors.formats import Statement, statement
from flows.connectors.formats.numbers import plain
from flows.connectors.formats.ofx_rows import (
    TRADES,
    Leaves,
    Row,
    activity,
    bank_line,
    fault_of,
    name_security,
    position,
    through,
    with_income,
)
from flows.connectors.formats.text import text_of

TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9._]{0,31})\s*>([^<]*)")
ROWS = TRADES | {
    "REINVEST", "INCOME", "INVEXPENSE", "MARGININTEREST", "RETOFCAP", "SPLIT", "TRANSFER", "CLOSUREOPT", "JRNLFUND", "JRNLSEC",
    "STMTTRN",
}  # fmt: skip
POSITIONS = {"POSDEBT", "POSMF", "POSOPT", "POSOTHER", "POSSTOCK"}
SECURITIES = {"DEBTINFO", "MFINFO", "OPTINFO", "OTHERINFO", "STOCKINFO"}
STATEMENTS = {"STMTRS": "bank", "CCSTMTRS": "bank", "INVSTMTRS": "broker"}
WHOLE = ROWS | POSITIONS | SECURITIES | {"INVBAL", "LEDGERBAL", "INVACCTFROM", "BANKACCTFROM", "CCACCTFROM", "STATUS"}


def read(file: Path) -> Statement:
    """The statement that an OFX or QFX file makes.

    Errors   Unavailable where it is no OFX, tells an error of the server, or no row of it can be used.
    Omits    transfers, journals, returns of capital, exercises and assignments: they stay under OFX's own word. Interest
             that a broker sends as a plain deposit is a deposit. Capital gain distributions are dividends.
    """
    text = text_of(file)
    begin = re.search(r"<OFX\s*>", text, re.IGNORECASE)
    if begin is None:
        raise Unavailable(f"{file} holds no <OFX>: download the statement as OFX, QFX or Quicken")
    found: dict[str, list[Row]] = {"activities": [], "positions": [], "bank_lines": []}
    securities: dict[str, Leaves] = {}
    faults: list[str] = []
    accounts: list[str] = []
    stated: list[date] = []
    account, kind, currency, as_of = "", "", "", ""
    for name, leaves, number in _aggregates(text[begin.end() :]):
        if name in STATEMENTS:
            account, kind, currency, as_of = "", STATEMENTS[name], "", ""
        elif name == "CURDEF":
            currency = leaves["CURDEF"].upper()
        elif name in ("DTEND", "DTASOF"):
            if last := through(leaves[name]):
                stated.append(last)
                as_of = str(last) if name == "DTASOF" else as_of
        elif name.endswith("ACCTFROM"):
            account = leaves.get("ACCTID", "")
            accounts.append(account)
        elif name == "STATUS" and leaves.get("SEVERITY", "").upper() == "ERROR":
            faults.append(f"the server said {leaves.get('MESSAGE') or leaves.get('CODE')!r}")
        elif name in SECURITIES:
            securities[leaves.get("UNIQUEID", "")] = leaves
        elif name in ROWS:
            leaves["CURDEF"] = leaves.get("CURSYM", currency).upper()
            row: Row = {
                "line": number,
                "account": account,
                "said": json.dumps({"TAG": name, **leaves}, ensure_ascii=False),
            }
            made = bank_line(leaves) if kind == "bank" else activity(name, leaves)
            if fault := fault_of(leaves, number, name):
                faults.append(fault)
            found["bank_lines" if kind == "bank" else "activities"].append(row | made)
        elif name in POSITIONS:
            made = position(leaves)
            found["positions"].append({"line": number, "account": account, "as_of": as_of, **made})
        elif name == "INVBAL" and "AVAILCASH" in leaves:
            cash = {"symbol": currency or "?", "quantity": plain(leaves["AVAILCASH"])}
            found["positions"].append({"line": number, "account": account, "as_of": as_of, **cash})
    rows = [*found["activities"], *found["bank_lines"]]
    if faults and len(faults) >= len(rows):
        raise Unavailable(f"{file}: no row of it can be used: {faults[0]}")
    if not rows and not found["positions"] and not accounts:
        raise Unavailable(f"{file} holds no statement of an account: download it again")
    for said in (*found["activities"], *found["positions"]):
        name_security(said, securities)
    activities = [one for said in found["activities"] for one in with_income(said)]
    for place, one in enumerate(activities, 1):
        one["line"] = place
    return statement(max(stated, default=None), activities, found["positions"], found["bank_lines"], accounts)


def _aggregates(text: str) -> Iterator[tuple[str, Leaves, int]]:
    """Each aggregate that matters with its leaves, and its number; and the leaves that stand outside of one."""
    name, number, skipped = "", 0, ""
    leaves: Leaves = {}
    for found in TAG.finditer(text):
        closing, tag, said = found[1], found[2].upper(), html.unescape(found[3]).strip()
        if closing:
            skipped = "" if tag == skipped else skipped
            if tag == name:
                yield name, leaves, number
                name = ""
            continue
        if tag in STATEMENTS or (tag in WHOLE and not (name in ROWS and (tag.endswith("ACCTFROM") or tag == "STATUS"))):
            if name:
                yield name, leaves, number
            name, leaves, number, skipped = "", {}, number + 1, ""
            if tag in STATEMENTS:
                yield tag, {}, number
            else:
                name = tag
        elif tag in ("ORIGCURRENCY", "BANKACCTTO", "CCACCTTO", "INVACCTTO", "BAL"):
            skipped = tag
        elif said and not skipped:
            if name:  # an option names its own security first, then the one that it stands for
                leaves.setdefault("UNDERLYING" if tag == "UNIQUEID" and tag in leaves else tag, said[:1000])
            elif tag in ("CURDEF", "DTEND", "DTASOF"):
                yield tag, {tag: said[:100]}, number
    if name:
        yield name, leaves, number
