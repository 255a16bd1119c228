"""Every kind of event through `thresher lots`: law/kinds.yaml, a sentence, facts, expected rows and a citation each."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from lots_cases import DISPOSAL, OPEN_LOT, REJECT, WASH_SALE, Books, as_expected, read_books

from flows.lots_door import run
from flows.lots_rows import COLUMNS, KINDS, OPTIONAL

LAW = yaml.load((Path(__file__).parent / "law" / "kinds.yaml").read_text(encoding="utf-8"), yaml.BaseLoader)
CASES = LAW["cases"]
EVENT = re.compile(
    r"(?P<traded_at>\S+) (?P<account_id>\S+) (?P<kind>\w+)( (?P<side>buys|sells))?( (?P<quantity>[\d.]+))? "
    r"(?P<security_id>\S+)( at (?P<price_usd>\S+))?( fee (?P<fee_usd>\S+))?( from (?P<lots>\S+))?( by (?P<method>\S+))?"
    r"( with (?P<more>.+?))? as (?P<trade_id>\S+)"
)


def row_of(sentence: str) -> dict[str, str]:
    found = EVENT.fullmatch(sentence)
    assert found, f"not a sentence of this grammar: {sentence}"
    row = {column: text or "" for column, text in found.groupdict().items()}
    row |= dict(pair.split("=") for pair in row.pop("more").split())
    row["side"] = row["side"].removesuffix("s")
    if row["kind"] in ("buys", "sells"):
        row["kind"], row["side"] = "", row["kind"].removesuffix("s")
    row["account_type"], row["owner"] = LAW["accounts"][row["account_id"]].split(" of ")
    if "to_account_id" in row:
        row["to_account_type"], row["to_owner"] = LAW["accounts"][row["to_account_id"]].split(" of ")
    return row | {"fee_usd": row["fee_usd"] or "0"}


def books_of(
    rows: list[dict[str, str]],
    folder: Path,
    as_of: date | None,
    identical: dict[str, str],
    policy: dict[str, str],
) -> Books:
    with (folder / "trades.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *OPTIONAL], restval="")
        writer.writeheader()
        writer.writerows(rows)
    groups = folder / "groups.csv"
    groups.write_text("security_id,group_id\n" + "".join(f"{a},{b}\n" for a, b in identical.items()))
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        assert run(folder / "trades.csv", folder / "out", groups, as_of, policy=policy) == 0
    return read_books(folder / "out")


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_law_case(case: dict, tmp_path: Path) -> None:
    rows = [row_of(sentence) for sentence in case["events"]]
    last = max(date.fromisoformat(row["traded_at"][:10]) for row in rows)
    as_of = date.fromisoformat(case["as_of"]) if "as_of" in case else last + timedelta(days=60)
    got = books_of(rows, tmp_path, as_of, case.get("identical", {}), case.get("policy", {}))
    for name, pattern in zip(Books._fields, (DISPOSAL, OPEN_LOT, WASH_SALE, REJECT), strict=True):
        table, expected = as_expected(getattr(got, name), case.get(name, []), pattern)
        assert table == expected, f"{case['id']}: {case['says']} ({case['citation']}), {name}"
    because = case.get("because", [])
    assert not because or len(because) == len(got.rejects)
    for reject, said in zip(got.rejects, because, strict=False):
        assert said in str(reject["reason"])


def test_every_kind_has_a_law_case_and_every_case_a_citation() -> None:
    told = {row_of(sentence)["kind"] for case in CASES if not case.get("rejects") for sentence in case["events"]}
    assert told >= (KINDS.keys() - {"buy", "sell"}) | {"correction"}
    assert all(case["citation"] and case["says"] for case in CASES)
    assert len({case["id"] for case in CASES}) == len(CASES)
