"""Every export that is known is read or refused as this table says, through the real ingest; and a second opinion on OFX."""

import warnings
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from ofxtools.models.base import Aggregate
from ofxtools.Parser import OFXTree
from small import ACCOUNT, Small
from statement_fuzz import SAMPLES, Sample, samples

from flows.connectors.formats import ofx
from flows.connectors.formats.column_map import shipped
from flows.day import day_of
from flows.ingest import ingest
from transforms.tables import KINDS
from warehouse.db import writer

AS_OF = date(2026, 11, 20)
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason=f"no statements in {SAMPLES} (THRESHER_TEST_DATA)")

UNKNOWN_ACTION, OPENS = "kind is not one of", "does it open or close"
CURRENCY = "not in USD"
# file -> rows delivered, rows set aside, the day it speaks for; or a part of the reason for which it is refused
EXPECTED: dict[str, tuple[int, int, str] | str] = {
    "csv/reds_schwab_csv_brokerage_XX876_Transactions_20220731.csv": (11, 0, "2023-05-03"),
    "csv/cgt_schwab_data_schwab_transactions.csv": (13, 0, "2021-02-03"),
    "csv/cgt_schwab_data_2023_transactions.csv": (7, 0, "2024-02-26"),
    "csv/cgt_schwab_data_bond_interest_transactions.csv": (5, 0, "2023-12-15"),
    "csv/cgt_schwab_data_cash_merger_transactions.csv": (6, 2, "2021-03-02"),  # Cash Merger, Cash Merger Adj
    "csv/netalpha_schwab_minimal.csv": (3, 0, "2024-09-20"),
    "csv/netalpha_schwab_sample.csv": (4, 1, "2024-11-01"),  # an option bought: opened or closed?
    "csv/reds_fidelity_csv_all_accounts_transactions_20251204.csv": (13, 2, "2025-12-03"),  # a merger, a bond
    "csv/reds_History_for_Account_X8YYYYYYY.csv": (11, 0, "2023-01-24"),
    "csv/netalpha_robinhood_sample.csv": (4, 1, "2024-11-01"),  # an option bought: opened or closed?
    "csv/cgt_interactive_brokers_data_test_basic.csv": "is in GBP, not in USD",
    "csv/netalpha_schwab_realized_gl_min.csv": "looks like a report of realized gains",
    "csv/autosync_amazon.csv": "looks like a list of orders",
    "csv/reds_schwab_XXX234_Checking_Transactions_20220203.csv": (2, 0, "2022-07-31"),
    "csv/reds_Main_Checking_Account_Transactions.csv": (10, 0, "2021-12-31"),
    "csv/autosync_paypal.csv": (2, 0, "2016-06-04"),
    "csv/autosync_venmo.csv": (4, 0, "2020-01-04"),
    "csv/autosync_mint.csv": (2, 0, "2016-08-02"),
    "ofx/autosync_cusip.ofx": (2, 0, "2016-10-07"),
    "ofx/autosync_fidelity-one-dtsettle.ofx": (17, 0, "2012-09-07"),
    "ofx/autosync_fidelity_fee.ofx": (5, 1, "2012-09-07"),  # an option whose terms the file does not say
    "ofx/autosync_income.ofx": (1, 0, "2016-10-07"),
    "ofx/ofxparse_bank_medium.ofx": "is in CAD, not in USD",
    "ofx/ofxparse_checking.ofx": (3, 0, "2013-05-24"),
    "ofx/ofxparse_error_message.ofx": "the server said 'General Server Error'",
    "ofx/ofxparse_fail_nice_date_missing.ofx": "has no day like 20251231; there stands nothing",
    "ofx/ofxparse_fail_nice_decimal_error.ofx": "has no day like 20251231; there stands 201120000000",
    "ofx/ofxparse_fail_nice_empty_balance.ofx": "is in CAD, not in USD",
    "ofx/ofxparse_fidelity-savings.ofx": (4, 0, "2012-09-07"),
    "ofx/ofxparse_fidelity.ofx": (17, 0, "2012-09-07"),
    "ofx/ofxparse_investment_401k.ofx": (3, 2, "2014-06-30"),  # two transfers of shares
    "ofx/ofxparse_investment_medium.ofx": (3, 0, "2009-12-15"),
    "ofx/ofxparse_multiple_accounts2.ofx": (0, 0, ""),
    "ofx/ofxparse_ofx-v102-empty-tags.ofx": "is in AUD, not in USD",
    "ofx/ofxparse_td_ameritrade.ofx": (0, 0, "2017-12-01"),
    "ofx/ofxparse_tiaacref.ofx": (1, 1, "2017-03-07"),  # a transfer of shares
    "ofx/ofxparse_vanguard.ofx": (1, 0, "2011-07-27"),
    "ofx/ofxparse_vanguard401k.ofx": (5, 1, "2014-10-17"),  # a transfer of shares
    "ofx/ofxtools_invstmtrs.ofx": (2, 0, "2005-08-26"),
    "ofx/ofxtools_stmtrs.ofx": (2, 0, "2005-10-28"),
    "ofx/ofxtools_stmtrs_euro.ofx": (2, 0, "2005-10-28"),
    "ofx/reds_360Checking.qfx": (4, 0, "2023-03-08"),
    "ofx/reds_OfxDownload-401k.qfx": (5, 3, "2023-05-26"),  # three transfers of shares
    "ofx/reds_OfxDownload.qfx": (2, 1, "2019-03-29"),  # the same FITID twice
    "ofx/reds_etrade_09092023.QFX": (4, 0, "2023-09-08"),
    "ofx/reds_transactions.qfx": (2, 1, "2019-08-30"),  # the same FITID twice
    "ofx/reds_with_ticker.qfx": (1, 0, "2026-03-16"),
}
ASKED = [sample for sample in samples() if sample.format != "flex"] if SAMPLES.is_dir() else []
BANK = '\n[[banks]]\nid = "{id}"\nlines = "{file}"\nformat = "{format}"\nnumber = "{number}"\n'


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, int, str] | str]:
    """Every sample as an account or a bank of one household, after one ingest."""
    small = Small(tmp_path_factory.mktemp("samples") / "home", {"HD": 300.0})
    for at, sample in enumerate(ASKED):
        said = {"id": f"a{at}", "file": SAMPLES / sample.file, "format": sample.format, "number": sample.number}
        if sample.is_bank:
            small.portfolio += BANK.format(**said)
        else:
            text = ACCOUNT.format(id=said["id"], type="taxable", owner="self", more=f'format = "{sample.format}"')
            lines = [line for line in text.splitlines() if not line.startswith(("activities", "positions"))]
            small.portfolio += "\n".join([*lines, f'activities = "{said["file"]}"', f'number = "{sample.number}"', ""])
    settings = small.settings()
    with writer(settings.warehouse) as warehouse:
        ingest(warehouse, day_of(settings, AS_OF, datetime(2026, 11, 20, 22)))
        rows = warehouse.rows(
            "SELECT d.source, d.row_count, d.stated_on::VARCHAR AS stated_on, count(s.line) AS aside FROM raw.deliveries AS d "
            "LEFT JOIN core.set_aside AS s USING (delivery_id) WHERE d.kind IN ('activities', 'bank_lines') GROUP BY ALL"
        )
        faults = dict(
            warehouse.rows(
                "SELECT source, reason FROM core.source_status WHERE kind IN ('activities', 'bank_lines')"
            ).iter_rows()
        )
    found: dict[str, tuple[int, int, str] | str] = {
        row["source"]: (row["row_count"], row["aside"], row["stated_on"] or "") for row in rows.iter_rows(named=True)
    }
    return {sample.file: found.get(f"a{at}", faults.get(f"a{at}", "")) for at, sample in enumerate(ASKED)}


@pytest.mark.parametrize("sample", ASKED, ids=lambda sample: sample.file)
def test_a_sample_is_read_row_by_row_or_refused_with_its_reason(
    sample: Sample, ingested: dict[str, tuple[int, int, str] | str]
) -> None:
    expected, found = EXPECTED[sample.file], ingested[sample.file]
    if isinstance(expected, str):
        assert isinstance(found, str) and expected in found
    else:
        assert found == expected


def test_the_table_names_every_sample() -> None:
    there = {f"{folder}/{file.name}" for folder in ("csv", "ofx") for file in (SAMPLES / folder).iterdir()}
    assert there == set(EXPECTED)


def judged_by_the_library(file: Path) -> list[Aggregate] | None:
    """The transactions of an OFX file as ofxtools reads them; none where it refuses the file."""
    tree = OFXTree()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree.parse(str(file))
            statements = tree.convert().statements
        except (ValueError, SyntaxError):
            return None
    return [one for statement in statements for one in (statement.transactions or [])]


OFX = [sample for sample in ASKED if sample.format == "ofx"]


@pytest.mark.parametrize("sample", OFX, ids=lambda sample: sample.file)
def test_ofx_says_what_a_reader_of_the_specification_says(sample: Sample) -> None:
    theirs = judged_by_the_library(SAMPLES / sample.file)
    if theirs is None or isinstance(EXPECTED[sample.file], str):
        pytest.skip("the library, or this reader, refuses the file")
    statement = ofx.read(SAMPLES / sample.file)
    frame = statement.bank_lines if sample.is_bank else statement.activities
    ours = {row["id"]: row for row in frame.iter_rows(named=True)}
    assert len(theirs) == sum(not name.endswith(":income") for name in frame["id"])
    for one in theirs:
        one = getattr(one, "stmttrn", one)
        row, moment = ours[one.fitid], getattr(one, "dttrade", None) or one.dtposted
        paid = getattr(one, "total", None) or getattr(one, "trnamt", None)
        day = row["posted_on"] if sample.is_bank else row["at"]
        assert abs((date.fromisoformat(day) - moment.date()).days) <= 1  # the library turns moments into UTC
        if len(ours) == len(theirs):
            assert paid is None or abs(Decimal(row["amount_usd"])) == abs(paid)
            units = getattr(one, "units", None)
            assert units is None or row["kind"] in ("split", "") or abs(Decimal(row["quantity"])) == abs(units)


def test_the_library_reads_most_of_the_samples_so_its_word_counts() -> None:
    assert sum(judged_by_the_library(SAMPLES / sample.file) is not None for sample in OFX) >= 20


def test_every_shipped_format_is_named_in_the_docs() -> None:
    text = (Path(__file__).parents[1] / "docs" / "statements.md").read_text()
    assert [name for name in shipped() if f"`{name}`" not in text] == []


def test_a_word_of_ofx_passes_for_none_of_our_kinds() -> None:
    assert not (ofx.ROWS & set(KINDS))
