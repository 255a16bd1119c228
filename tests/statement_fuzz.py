"""Damaged statements, each named by a seed, read with their formats: the readers may refuse and set aside, never break.

`python tests/statement_fuzz.py 50000` mutates the samples of THRESHER_TEST_DATA so often and prints how many files were
parsed, parsed in part and refused, by format and by what was done to them. A row counts as set aside when the contract
of its table says so, about the row as the view of stg reads it.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import polars as pl

from flows.connectors import Unavailable
from flows.connectors.banks.files import FileBank
from flows.connectors.brokers.statements import Statements
from flows.connectors.formats.gathered import Source
from flows.csv_file import SURPLUS
from transforms import tables
from warehouse.db import Warehouse, writer

ROOT = Path(__file__).parents[1]
SAMPLES = (ROOT / os.environ.get("THRESHER_TEST_DATA", "../shared") / "statements").resolve()
TODAY = date(2026, 11, 20)
MOST_SECONDS = 5  # for one file; the slowest takes a tenth of one
BATCH = 1000
OUTCOMES = ("parsed", "parsed in part", "refused")


class Sample(NamedTuple):
    """A statement, how it is read, and whether it is an account's or a bank's."""

    file: str
    format: str
    number: str = ""
    is_bank: bool = False


CSV = (
    Sample("csv/reds_schwab_csv_brokerage_XX876_Transactions_20220731.csv", "schwab"),
    Sample("csv/cgt_schwab_data_schwab_transactions.csv", "schwab"),
    Sample("csv/cgt_schwab_data_2023_transactions.csv", "schwab"),
    Sample("csv/cgt_schwab_data_bond_interest_transactions.csv", "schwab"),
    Sample("csv/cgt_schwab_data_cash_merger_transactions.csv", "schwab"),
    Sample("csv/netalpha_schwab_minimal.csv", "schwab"),
    Sample("csv/netalpha_schwab_sample.csv", "schwab"),
    Sample("csv/reds_fidelity_csv_all_accounts_transactions_20251204.csv", "fidelity", "333333333"),
    Sample("csv/reds_History_for_Account_X8YYYYYYY.csv", "fidelity"),
    Sample("csv/netalpha_robinhood_sample.csv", "robinhood"),
    Sample("csv/cgt_interactive_brokers_data_test_basic.csv", "ibkr"),
    Sample("csv/netalpha_schwab_realized_gl_min.csv", "schwab"),
    Sample("csv/autosync_amazon.csv", "mint", is_bank=True),
    Sample("csv/reds_schwab_XXX234_Checking_Transactions_20220203.csv", "schwab_bank", is_bank=True),
    Sample("csv/reds_Main_Checking_Account_Transactions.csv", "dcu", is_bank=True),
    Sample("csv/autosync_paypal.csv", "paypal", is_bank=True),
    Sample("csv/autosync_venmo.csv", "venmo", is_bank=True),
    Sample("csv/autosync_mint.csv", "mint", is_bank=True),
)
BANK_OFX = (
    "360Checking", "transactions", "stmtrs", "checking", "bank_medium", "multiple_accounts2", "ofx-v102-empty-tags", "error_message",
    "fail_nice",
)  # fmt: skip


def samples() -> list[Sample]:
    """Every sample with the format that it is in."""
    ofx = [
        Sample(f"ofx/{file.name}", "ofx", "9100" if "multiple" in file.name else "", is_bank=_is_bank(file.name))
        for file in sorted((SAMPLES / "ofx").iterdir())
    ]
    flex = [Sample(f"ibkr_flex/{file.name}", "flex") for file in sorted((SAMPLES / "ibkr_flex").glob("*.xml"))]
    return [*CSV, *ofx, *flex]


def _is_bank(name: str) -> bool:
    return "invstmtrs" not in name and any(part in name for part in BANK_OFX)


# What is done to a file --------------------------------------------------------------------------------

Mutation = Callable[[random.Random, bytes], bytes]


def _lines(raw: bytes) -> list[bytes]:
    return raw.splitlines(keepends=True) if raw.count(b"\n") > 3 else re.split(rb"(?=<)", raw)


def flip_bytes(rng: random.Random, raw: bytes) -> bytes:
    made = bytearray(raw)
    for _ in range(rng.randint(1, 12) if made else 0):
        made[rng.randrange(len(made))] = rng.randrange(256)
    return bytes(made)


def truncate(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw) + 1)]


def drop_a_line(rng: random.Random, raw: bytes) -> bytes:
    lines = _lines(raw)
    del lines[(at := rng.randrange(len(lines))) : at + rng.randint(1, 3)]
    return b"".join(lines)


def double_a_line(rng: random.Random, raw: bytes) -> bytes:
    lines = _lines(raw)
    at = rng.randrange(len(lines))
    return b"".join(lines[: at + 1] + lines[at:])


def swap_lines(rng: random.Random, raw: bytes) -> bytes:
    lines = _lines(raw)
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]
    return b"".join(lines)


def other_encoding(rng: random.Random, raw: bytes) -> bytes:
    text = raw.decode("utf-8", "replace")
    form = rng.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "cp1252", "utf-7", "cp500"))
    return text.encode(form, "replace")


ODD_NUMBERS = (
    b"1e999", b"NaN", b"inf", b"-inf", b"9" * 400, b"0." + b"0" * 200 + b"1", b"-0", b"1,2,3", b"--5", b"0x1F", b"1_000", b"(5", b"", b"$",
    b"-99999999999999999999.99", b"12.3456789012345", "١٢".encode(), b"1/0", b"5%",
)  # fmt: skip
ODD_DAYS = (b"02/30/2023", b"13/13/2023", b"00/00/0000", b"01/01/9999", b"12/31/2099", b"01/01/0001", b"2023-1-1", b"yesterday", b"",
            b"99999999", b"00000000", b"20231301", b"20990101")  # fmt: skip


def odd_numbers(rng: random.Random, raw: bytes) -> bytes:
    return _replace_some(rng, rb"(?<![\w/])\$?-?\d[\d,]*\.?\d*(?![\w/])", ODD_NUMBERS, raw)


def odd_days(rng: random.Random, raw: bytes) -> bytes:
    return _replace_some(rng, rb"\d\d?/\d\d?/\d{4}|\d{4}-\d\d-\d\d|(?<=>)(?:19|20)\d{6}", ODD_DAYS, raw)


def _replace_some(rng: random.Random, pattern: bytes, by: tuple[bytes, ...], raw: bytes) -> bytes:
    found = list(re.finditer(pattern, raw))
    for hit in sorted(rng.sample(found, min(len(found), rng.randint(1, 4))), key=lambda one: -one.start()):
        raw = raw[: hit.start()] + rng.choice(by) + raw[hit.end() :]
    return raw


def change_a_header(rng: random.Random, raw: bytes) -> bytes:
    """A column is renamed, doubled or gone; in markup, a tag."""
    if b"<" in raw[:2000] and b"," not in raw[:20]:
        tags = list(set(re.findall(rb"<([A-Za-z.0-9]+)", raw))) or [b"x"]
        return raw.replace(rng.choice(tags), rng.choice((b"X", b"OFX", b"STMTTRN", b"")))
    lines = raw.splitlines(keepends=True)
    heads = [at for at, line in enumerate(lines[:14]) if line.count(b",") > 2] or [0]
    if not lines:
        return raw
    at = rng.choice(heads)
    cells = lines[at].split(b",")
    cell = rng.randrange(len(cells))
    cells[cell : cell + 1] = rng.choice(([b"Other"], [cells[cell], cells[cell]], [], [cells[cell].upper()]))
    return b"".join([*lines[:at], b",".join(cells), *lines[at + 1 :]])


def damage_quotes(rng: random.Random, raw: bytes) -> bytes:
    made = bytearray(raw)
    for _ in range(rng.randint(1, 5) if made else 0):
        if rng.random() < 0.5 and (places := [at for at, byte in enumerate(made) if byte == 34]):
            del made[rng.choice(places)]
        else:
            made.insert(rng.randrange(len(made) + 1), 34)
    return bytes(made)


def entity_bomb(rng: random.Random, raw: bytes) -> bytes:
    many = b"".join(b'<!ENTITY e%d "%s">' % (n, b"&e%d;" % (n - 1) * 10) for n in range(1, 12))
    bomb = b'<!DOCTYPE x [<!ENTITY e0 "lol">' + many + b'<!ENTITY f SYSTEM "file:///etc/hostname">]>'
    body = re.sub(
        rb"(?<=>)(?=\d)|(?<=\")(?=\d)", rng.choice((b"&e11;", b"&f;", b"&#99999999;", b"&nbsp;")), raw, count=2
    )
    return body.replace(b"?>", b"?>" + bomb, 1) if b"?>" in body else bomb + body


def megabyte_field(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    return (
        raw[:at]
        + rng.choice((b"A", b'"', b",", b"<A>", b"9", b"(", b" ", b"\xe9", b"<![CDATA["))
        * rng.choice((70_000, 300_000))
        + raw[at:]
    )


def unbalance_tags(rng: random.Random, raw: bytes) -> bytes:
    return _replace_some(
        rng,
        rb"</?[A-Za-z0-9.]+/?>|,",
        (b"", b"<", b"</OFX>", b"<STMTTRN>", b"</INVBUY>", b"<<>>", b";", b"\t", b",,,"),
        raw,
    )


def blank_and_cut_lines(rng: random.Random, raw: bytes) -> bytes:
    end = rng.choice((b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"))
    return raw.replace(b"\r\n", b"\n").replace(b"\n", end)


def put_text_in(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw) + 1)
    odd = (
        b"\x00" * 9,
        b"\xff\xfe",
        b'=cmd|" /C calc"!A0',
        b"\xed\xa0\x80",
        b"\x1a",
        "\u202e\u2028".encode(),
        b"\n,,,\n",
        b"';DROP TABLE raw.activities;--",
    )
    return raw[:at] + rng.choice(odd) + raw[at:]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bytes, truncate, drop_a_line, double_a_line, swap_lines, other_encoding, odd_numbers, odd_days, change_a_header, damage_quotes,
    entity_bomb, megabyte_field, unbalance_tags, blank_and_cut_lines, put_text_in,
)  # fmt: skip
RARE = {megabyte_field: 0.1}  # it is slow, and much alike


# What comes of it --------------------------------------------------------------------------------------


class Read(NamedTuple):
    """A damaged file that was read: `rows` are those delivered, `outcome` is known at once when it was refused."""

    seed: str
    sample: Sample
    done: tuple[str, ...]
    rows: pl.DataFrame | None
    said: str  # why it was refused, or the traceback


class Hang(Exception):
    """A file took too long."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang(f"more than {seconds} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def delivered(sample: Sample, file: Path) -> pl.DataFrame:
    """The rows that the sample's connector delivers; its positions are asked for too."""
    source = Source("account", file, sample.format, sample.number, {})
    if sample.is_bank:
        return FileBank(source, TODAY).lines(TODAY).rows
    broker = Statements(source, None, TODAY)
    broker.positions(TODAY)
    return broker.activities(TODAY).rows


def read_damaged(seed: str, known: list[tuple[Sample, bytes]], folder: Path) -> Read:
    rng = random.Random(seed)
    sample, raw = rng.choice(known)
    chosen = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        mutation = rng.choice(MUTATIONS)
        if rng.random() < RARE.get(mutation, 1):
            chosen.append(mutation)
    for mutation in chosen:
        raw = mutation(rng, raw)
    done = tuple(mutation.__name__ for mutation in chosen) or ("nothing",)
    file = folder / Path(sample.file).name
    file.write_bytes(raw)
    try:
        with time_limit(MOST_SECONDS):
            return Read(seed, sample, done, delivered(sample, file), "")
    except Unavailable as refused:
        return Read(seed, sample, done, None, str(refused))
    except (Exception, RecursionError):  # whatever it is: it is what is looked for
        return Read(seed, sample, done, None, "BROKE " + traceback.format_exc())


def judged(warehouse: Warehouse, read: list[Read]) -> list[int]:
    """Of each file, how many rows its contract sets aside: by the views of stg and the contracts that ingest uses."""
    found = [0] * len(read)
    for kind, is_bank, contract in (
        ("activities", False, tables.activities(TODAY)),
        ("bank_lines", True, tables.bank_lines(TODAY)),
    ):
        frames = [
            one.rows.with_columns(delivery_id=pl.lit(f"{at:08d}"), line=pl.int_range(pl.len(), dtype=pl.Int64))
            for at, one in enumerate(read)
            if one.rows is not None and one.rows.height and one.sample.is_bank == is_bank
        ]
        if not frames:
            continue
        rows = pl.concat(frames, how="diagonal").with_columns(pl.col(pl.String).fill_null(""))
        surplus = rows[SURPLUS] if SURPLUS in rows.columns else pl.Series(SURPLUS, [""] * rows.height)
        payload = pl.struct(pl.exclude("line", "delivery_id", SURPLUS)).struct.json_encode()
        raw = rows.select("delivery_id", "line", payload=payload, payload_hash=pl.lit(""), source=pl.lit("account"))
        warehouse.run(f"DELETE FROM raw.{kind}")
        warehouse.append(f"raw.{kind}", raw)
        facts = rows.select(
            "delivery_id", "line", is_first=pl.struct("delivery_id", "id").is_first_distinct(), is_whole=surplus == ""
        )
        seen = warehouse.rows(f"SELECT * FROM stg.{kind}").join(facts, on=["delivery_id", "line"])
        assert seen.height == rows.height, "a row was lost between raw and stg"
        _, wrong = tables.split(seen, contract)
        for name, many in Counter(wrong["delivery_id"]).items():
            found[int(name)] = many
    return found


class Tally(NamedTuple):
    outcomes: Counter[str]
    by_format: Counter[tuple[str, str]]
    by_mutation: Counter[tuple[str, str]]
    broken: list[Read]
    seconds: float
    digest: str

    def table(self) -> str:
        total = sum(self.outcomes.values())
        lines = [f"{total:,} damaged files in {self.seconds:.0f} s; {len(self.broken)} broke a reader or took too long"]
        lines += [
            f"  {outcome:15} {self.outcomes[outcome]:7,} {self.outcomes[outcome] / total:6.1%}" for outcome in OUTCOMES
        ]
        for title, counted in (("format", self.by_format), ("what was done", self.by_mutation)):
            lines.append(f"{title:22}" + "".join(f"{outcome:>15}" for outcome in OUTCOMES))
            for name in sorted({name for name, _ in counted}):
                lines.append(f"  {name:20}" + "".join(f"{counted[name, outcome]:15,}" for outcome in OUTCOMES))
        return "\n".join(lines)


def fuzz(count: int, seed: int = 1, say: Callable[[str], None] = lambda line: None) -> Tally:
    """Damage and read so many files."""
    known = [(sample, (SAMPLES / sample.file).read_bytes()) for sample in samples()]
    tally = Tally(Counter(), Counter(), Counter(), [], 0, "")
    began, digest = time.monotonic(), sha256()
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        with writer(folder / "warehouse.duckdb") as warehouse:
            for first in range(0, count, BATCH):
                read = [read_damaged(f"{seed}:{n}", known, folder) for n in range(first, min(first + BATCH, count))]
                for one, aside in zip(read, judged(warehouse, read), strict=True):
                    if one.said.startswith("BROKE"):
                        tally.broken.append(one)
                        continue
                    outcome = "refused" if one.rows is None else "parsed in part" if aside else "parsed"
                    tally.outcomes[outcome] += 1
                    tally.by_format[one.sample.format, outcome] += 1
                    tally.by_mutation.update((name, outcome) for name in set(one.done))
                    digest.update(f"{one.seed} {outcome} {aside}\n".encode())
                say(
                    f"{min(first + BATCH, count):,} of {count:,}, {time.monotonic() - began:.0f} s, {len(tally.broken)} broken"
                )
    finally:
        shutil.rmtree(folder)
    return tally._replace(seconds=time.monotonic() - began, digest=digest.hexdigest()[:16])


if __name__ == "__main__":
    done = fuzz(
        int(sys.argv[1]) if len(sys.argv) > 1 else 50_000,
        int(sys.argv[2]) if len(sys.argv) > 2 else 1,
        lambda line: print(line, flush=True),
    )
    print(done.table())
    for one in done.broken[:5]:
        print(one.seed, one.sample.file, one.done, one.said, sep="\n", file=sys.stderr)
    too_few = [outcome for outcome in OUTCOMES if done.outcomes[outcome] * 10 < sum(done.outcomes.values())]
    sys.exit(bool(done.broken or too_few))
