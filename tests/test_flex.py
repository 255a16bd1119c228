"""Flex statements: the real ones, and what they do not hold written out."""

import os
import re
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from ib_gateway import failed, flex_statement

from flows.connectors import Unavailable
from flows.connectors.formats import Statement, flex
from flows.connectors.formats.flex_xml import MOST_BYTES
from flows.lots_rows import read_event
from transforms.tables import KINDS, OF_LOTS
from warehouse.law import wash_rules

DATA = Path(os.environ.get("THRESHER_TEST_DATA", Path(__file__).parents[1] / ".." / "shared"))
SAMPLES = sorted((DATA / "statements" / "ibkr_flex").glob("*.xml"))
SNIPPETS = DATA / "statements" / "ibkr_flex" / "ibflex_element_snippets.xml.txt"
real = pytest.mark.skipif(not SAMPLES, reason=f"no statements in {DATA}/statements/ibkr_flex")


def sample(number: str) -> Statement:
    return flex.read(next(file for file in SAMPLES if file.stem.endswith(number)))


def read(tmp_path: Path, rows: str, **head: str) -> Statement:
    (file := tmp_path / "flex.xml").write_text(flex_statement(rows, **head))
    return flex.read(file)


def kinds(statement: Statement) -> list[str]:
    return statement.activities["kind"].to_list()


TRADE = {
    "assetCategory": "STK", "currency": "USD", "symbol": "SPY", "tradeDate": "20261112", "dateTime": "20261112;103000",
    "buySell": "BUY", "quantity": "10", "tradePrice": "650", "ibCommission": "-1", "ibCommissionCurrency": "USD", "taxes": "0",
    "netCash": "-6501", "tradeID": "1", "transactionID": "11", "ibExecID": "0000e0d5.00000001.01.01",
    "transactionType": "ExchTrade", "levelOfDetail": "EXECUTION", "openCloseIndicator": "O", "multiplier": "1",
}  # fmt: skip


def trade(**other: str) -> str:
    return "<Trade " + " ".join(f'{name}="{text}"' for name, text in {**TRADE, **other}.items()) + "/>"


def action(description: str, quantity: str, symbol: str = "OLD", proceeds: str = "0") -> str:
    number = str(abs(hash((description, quantity))))  # IBKR gives every row one
    return (
        f'<CorporateAction currency="USD" assetCategory="STK" symbol="{symbol}" description="{description}" '
        f'dateTime="20260313;202500" reportDate="20260316" quantity="{quantity}" proceeds="{proceeds}" transactionID="{number}"/>'
    )


@real
@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem[-2:])
def test_every_row_of_a_real_statement_is_translated_or_kept_and_none_is_lost(file: Path) -> None:
    statement = flex.read(file)
    text = file.read_text()
    details = 'levelOfDetail="DETAIL"' in text
    elements = re.findall(r"<(Trade|CashTransaction|CorporateAction|TransactionTax) ([^>]*)>", text)
    told = [said for _, said in elements if not (details and 'levelOfDetail="SUMMARY"' in said)]
    # one exercise comes with its shares (02), one trade with its cancellation (09), one also with what replaced it (28)
    joined = {"02": 1, "09": 1, "28": 2}.get(file.stem[-2:], 0)
    assert statement.activities.height == len(told) - joined
    assert statement.activities["id"].is_unique().all()
    lines = text.splitlines()
    assert all("<" in lines[line - 1] for line in statement.activities["line"])


@real
def test_the_real_statements_hold_so_many_rows_of_each_kind() -> None:
    told = Counter(kind for file in SAMPLES for kind in kinds(flex.read(file)))
    assert Counter({kind: n for kind, n in told.items() if kind in KINDS}) == {
        "dividend": 22, "fee": 13, "trade": 10, "interest": 2, "option_open": 2, "option_assign": 1, "bust": 1,
    }  # fmt: skip
    kept = Counter(kind for kind in told.elements() if kind not in KINDS)
    assert sum(n for kind, n in kept.items() if "and not in USD" in kind) == sum(kept.values()) - 6
    assert kept["Trade: tradePrice is missing: add it to the query"] == 3


@real
def test_no_amount_in_another_currency_stands_as_dollars() -> None:
    for file in SAMPLES:
        rows = flex.read(file).activities.filter(pl.col("kind").str.contains("not in USD"))
        assert rows.select("price_usd", "fee_usd", "amount_usd").unique().rows() in ([], [("", "", "")])
        assert rows["said"].str.contains(r"currency (CAD|CHF|EUR|GBP|GBX|KRW|TWD)").all()


@real
@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.stem[-2:])
def test_the_lots_engine_reads_every_row_that_concerns_lots_except_puts_written_without_the_share_price(
    file: Path,
) -> None:
    rules = wash_rules(date(2025, 12, 31), {})
    for row in flex.read(file).activities.filter(pl.col("kind").is_in(OF_LOTS)).iter_rows(named=True):
        said = {**row, "trade_id": row["id"], "account_id": "a", "security_id": row["symbol"]}
        said["kind"] = "" if row["kind"] == "trade" else row["kind"]
        if row["kind"] == "option_open" and row["right"] == "put" and row["side"] == "sell":
            with pytest.raises(ValueError, match="underlying_price_usd"):
                read_event(said, "taxable", "self", date.fromisoformat(row["at"][:10]), None, rules)
        else:
            read_event(said, "taxable", "self", date.fromisoformat(row["at"][:10]), None, rules)


@real
def test_a_statement_speaks_to_its_last_day_and_names_its_accounts() -> None:
    both = sample("26")
    assert (both.stated_on, both.accounts) == (date(2025, 9, 30), ("U1234567", "U1234568"))
    assert Counter(both.activities["account"]) == {"U1234567": 2, "U1234568": 2}


@real
def test_an_execution_is_counted_once_beside_its_order_and_its_summaries() -> None:
    [row] = sample("20").activities.filter(pl.col("symbol") == "ARCC").rows(named=True)
    assert (row["id"], row["quantity"], row["price_usd"], row["amount_usd"]) == (
        "0000d7a7.63ce4806.01", "157", "19.065", "-2995.205",
    )  # fmt: skip


@real
def test_a_cash_transaction_is_counted_once_beside_its_summary() -> None:
    assert sample("03").activities.select("kind", "amount_usd").rows() == [("interest", "0.02")]


@real
def test_cash_is_told_by_currency_without_the_sum_and_without_parts_of_a_cent() -> None:
    held = sample("20").positions.select("symbol", "quantity").rows()
    assert held == [
        ("CASH.CAD", "4806.66195851"), ("CASH.EUR", "152.241642114"), ("USD", "1544.296952"), ("USD.settled", "1544.296952"),
    ]  # fmt: skip


@real
def test_an_assignment_takes_its_shares_at_the_strike_with_it() -> None:
    [row] = sample("02").activities.filter(pl.col("kind") == "option_assign").rows(named=True)
    assert (row["symbol"], row["underlying_id"], row["right"], row["strike_usd"], row["amount_usd"]) == (
        "ORCL170915P00050000", "ORCL", "put", "50", "-5000",
    )  # fmt: skip
    assert "ORCL" not in sample("02").activities.filter(pl.col("kind") == "trade")["symbol"]


@real
def test_what_the_ledger_cannot_keep_of_a_commission_is_rounded_and_still_said() -> None:
    [row] = sample("10").activities.filter(pl.col("symbol") == "UPST").rows(named=True)
    assert (row["fee_usd"], row["amount_usd"]) == ("0.331257", "-140.831257")
    assert "netCash -140.83125725" in row["note"] and "ibCommission -0.33125725" in row["note"]


def test_a_commission_that_the_broker_pays_is_part_of_the_price(tmp_path: Path) -> None:
    rebates = trade(ibCommission="0.35", netCash="-6499.65"), trade(
        buySell="SELL", quantity="-10", ibCommission="0.35", netCash="6500.35", ibExecID="0000e0d5.00000002.01.01", tradeID="2"
    )  # fmt: skip
    bought, sold = read(tmp_path, "".join(rebates)).activities.rows(named=True)
    assert (bought["price_usd"], bought["fee_usd"], bought["amount_usd"]) == ("649.965000000", "0", "-6499.65")
    assert (sold["price_usd"], sold["fee_usd"], sold["amount_usd"]) == ("650.035000000", "0", "6500.35")
    assert "with a rebate of 0.35 at 650" in bought["note"]


@real
def test_a_fund_that_is_liquidated_for_cash_is_sold() -> None:
    [row] = sample("23").activities.filter(pl.col("kind") == "trade").rows(named=True)
    assert (row["side"], row["symbol"], row["quantity"], row["price_usd"], row["amount_usd"], row["at"]) == (
        "sell", "JMLP", "367", "1.1047", "405.4249", "2020-05-08",
    )  # fmt: skip


@pytest.mark.skipif(not SNIPPETS.exists(), reason=f"no {SNIPPETS}")
def test_one_element_of_each_section_is_read_told_already_or_kept(tmp_path: Path) -> None:
    found = re.findall(r"<([A-Z]\w+) [^<]*?/>", text := SNIPPETS.read_text())
    rows = "\n".join(one[0] for one in re.findall(r"(<(?!Flex)[A-Z]\w+ [^<]*?/>)()", text))
    statement = read(tmp_path, rows)
    said = Counter(kinds(statement))
    assert len(found) > 25
    assert said["option_assign"] == 0 and said["return_of_capital"] == 1 and said["fee"] == 2
    kept = {kind.split(":")[0] for kind in said if kind not in KINDS}
    assert kept == {"Trade", "OptionEAE", "TradeTransfer", "DebitCardActivity", "Transfer", "TransferLot"}
    [sold] = statement.activities.filter(pl.col("kind") == "trade").rows(named=True)
    assert (sold["symbol"], sold["quantity"], sold["price_usd"]) == ("NILSY.TEN", "1000", "30.60000000")
    [held] = statement.positions.filter(pl.col("symbol") == "VXX").rows(named=True)
    assert (held["quantity"], held["cost_usd"], held["as_of"]) == ("-100", "-3440.5", "2011-12-30")
    assert statement.positions.filter(pl.col("symbol") == "USD")["quantity"].to_list() == ["51.730897778"]


def test_a_corrected_execution_replaces_the_one_before_it_and_its_cancellation(tmp_path: Path) -> None:
    cancel = {
        "transactionType": "TradeCancel",
        "ibExecID": "",
        "tradeID": "",
        "origTradeID": "1",
        "transactionID": "12",
    }
    again = {"ibExecID": "0000e0d5.00000001.01.02", "tradePrice": "649", "netCash": "-6491", "transactionID": "13"}
    first, second, third = trade(), trade(**cancel), trade(**again)
    for rows in (first + second + third, third + first + second):
        activities = read(tmp_path, rows).activities
        assert activities.select("id", "kind", "price_usd").rows() == [("0000e0d5.00000001.01", "trade", "649")]
    assert read(tmp_path, first + second).activities.select("id", "kind").rows() == [("0000e0d5.00000001.01", "bust")]


def test_a_cancellation_of_a_trade_that_is_not_told_is_kept(tmp_path: Path) -> None:
    [kind] = kinds(read(tmp_path, trade(transactionType="TradeCancel", ibExecID="", origTradeID="77")))
    assert kind.startswith("Trade: of trade 77, which is not in this statement")


@pytest.mark.parametrize(
    ("said", "kind", "side"),
    [
        ({"openCloseIndicator": "O"}, "trade", "buy"),
        ({"openCloseIndicator": "", "buySell": "SELL", "quantity": "-10"}, "trade", "sell"),
        ({"openCloseIndicator": "O", "buySell": "SELL", "quantity": "-10"}, "short_open", "sell"),
        ({"openCloseIndicator": "C"}, "short_close", "buy"),
        ({"notes": "R"}, "dividend_reinvested", "buy"),
        (
            {"openCloseIndicator": "C;O", "buySell": "SELL"},
            "Trade: it closes and opens at once: bring it as two rows",
            "",
        ),
        ({"ibCommissionCurrency": "EUR"}, "Trade: its commission is in EUR, and not in USD", ""),
        ({"currency": ""}, "Trade: in a currency that is not said, and not in USD", ""),
        ({"quantity": "ten"}, "Trade: quantity 'ten' is not a number", ""),
        ({"notes": "A"}, "Trade: the shares of an exercise, without its option beside them", ""),
    ],
)
def test_a_trade_is_what_its_codes_say(tmp_path: Path, said: dict[str, str], kind: str, side: str) -> None:
    [row] = read(tmp_path, trade(**said)).activities.rows(named=True)
    assert (row["kind"], row["side"], row["line"]) == (kind, side, 1)


def test_options_say_their_contract_and_whether_they_open(tmp_path: Path) -> None:
    option = {"assetCategory": "OPT", "symbol": "SPY   261218C00700000", "underlyingSymbol": "SPY", "putCall": "C", "strike": "700",
              "multiplier": "100"}  # fmt: skip
    rows = (
        trade(**option, openCloseIndicator="O", ibExecID="a.b.01.01"),
        trade(**option, openCloseIndicator="C", ibExecID="a.c.01.01"),
        trade(**option, notes="Ep", buySell="SELL", tradePrice="0", netCash="0", ibExecID="", tradeID="9"),
        trade(**option, openCloseIndicator="", ibExecID="a.d.01.01"),
    )
    told = read(tmp_path, "\n".join(rows)).activities
    assert kinds(read(tmp_path, "\n".join(rows)))[:3] == ["option_open", "option_close", "option_expire"]
    assert told["kind"][3].startswith("Trade: openCloseIndicator '' does not say")
    assert told.select("symbol", "underlying_id", "right", "strike_usd", "multiplier").row(0) == (
        "SPY261218C00700000", "SPY", "call", "700", "100",
    )  # fmt: skip


def test_an_exercise_that_only_its_own_section_tells_is_read_there(tmp_path: Path) -> None:
    option = (
        '<OptionEAE currency="USD" assetCategory="OPT" symbol="SPY   261120C00600000" underlyingSymbol="SPY" multiplier="100" '
        'strike="600" putCall="C" date="20261120" transactionType="Exercise" quantity="-1" tradePrice="0" proceeds="0" '
        'commisionsAndTax="0" tradeID="5"/>'
    )
    shares = (
        '<OptionEAE currency="USD" assetCategory="STK" symbol="SPY" underlyingSymbol="SPY" date="20261120" transactionType="Buy" '
        'quantity="100" tradePrice="600.0000" proceeds="-60,000.00" commisionsAndTax="0" tradeID="6"/>'
    )
    [row] = read(tmp_path, option + shares).activities.rows(named=True)
    assert (row["kind"], row["id"], row["amount_usd"], row["strike_usd"]) == (
        "option_exercise",
        "trade-5",
        "-60000.00",
        "600",
    )
    as_trades = trade(
        assetCategory="OPT", symbol="SPY   261120C00600000", underlyingSymbol="SPY", multiplier="100", strike="600", putCall="C",
        tradeDate="20261120", dateTime="20261120;162000", notes="Ex", buySell="SELL", quantity="-1", tradePrice="0", netCash="0",
        ibExecID="", tradeID="5",
    ) + trade(
        tradeDate="20261120", dateTime="20261120;162000", notes="Ex", quantity="100", tradePrice="600", netCash="-60000",
        ibCommission="0", ibExecID="", tradeID="6",
    )  # fmt: skip
    assert kinds(read(tmp_path, as_trades + option + shares)) == ["option_exercise"]


SPLIT = "OLD(US1) SPLIT {} ({}, OLD CORP, US1)"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (action(SPLIT.format("4 FOR 1", "OLD"), "300"), ("split", "OLD", "4:1", "")),
        (
            action(SPLIT.format("1 FOR 25", "OLD"), "480")
            + action(SPLIT.format("1 FOR 25", "OLD.OLD"), "-12000", "OLD.OLD"),
            ("split", "OLD", "1:25", ""),
        ),
        (action("OLD(US1) STOCK DIVIDEND US1 5 FOR 100 (OLD, OLD CORP, US1)", "5"), ("split", "OLD", "105:100", "")),
        (
            action("OLD(US1) MERGED(Acquisition)  WITH US2 3 FOR 2 (OLD, OLD CORP, US1)", "-100")
            + action("OLD(US1) MERGED(Acquisition)  WITH US2 3 FOR 2 (NEW, NEW CORP, US2)", "150", "NEW"),
            ("merger", "OLD", "3:2", "NEW"),
        ),
        (action("OLD(US1) SPINOFF  1 FOR 3 (NEW, NEW CORP, US2)", "33", "NEW"), ("spin_off", "OLD", "1:3", "NEW")),
        (
            action("OLD(US1) CUSIP/ISIN CHANGE TO (US2) (OLD.OLD, OLD CORP, US1)", "-10", "OLD.OLD")
            + action("OLD(US1) CUSIP/ISIN CHANGE TO (US2) (NEW, NEW CORP, US2)", "10", "NEW"),
            ("symbol_change", "OLD", "", "NEW"),
        ),
    ],
)
def test_what_a_company_does_is_one_row_of_the_day_of_the_report(
    tmp_path: Path, rows: str, expected: tuple[str, ...]
) -> None:
    [row] = read(tmp_path, rows).activities.rows(named=True)
    assert (row["kind"], row["symbol"], row["ratio"], row["new_security_id"]) == expected
    assert (row["at"], row["amount_usd"]) == ("2026-03-16", "0")


@pytest.mark.parametrize(
    "rows",
    [
        action(SPLIT.format("1 FOR 25", "OLD"), "700")
        + action(SPLIT.format("1 FOR 25", "OLD.OLD"), "-12000", "OLD.OLD"),
        action("OLD(US1) MERGED(Acquisition)  WITH US2 3 FOR 2 AND USD 5 (OLD, OLD CORP, US1)", "-100", proceeds="500")
        + action("OLD(US1) MERGED(Acquisition)  WITH US2 3 FOR 2 AND USD 5 (NEW, NEW CORP, US2)", "150", "NEW"),
        action("OLD(US1) MERGED(Acquisition)  WITH US2 3 FOR 2 (OLD, OLD CORP, US1)", "-100", proceeds="500")
        + action("OLD(US1) MERGED(Acquisition)  WITH US2 3 FOR 2 (NEW, NEW CORP, US2)", "150", "NEW"),
        action("OLD(US1) MERGED(Acquisition)  FOR USD 10.00 PER SHARE (OLD, OLD CORP, US1)", "-100", proceeds="999"),
        action("OLD(US1) TENDERED TO US2 1 FOR 1 (OLD, OLD CORP, US1)", "-100"),
        action("OLD(US1) SPLIT 0 FOR 1 (OLD, OLD CORP, US1)", "-100"),
        action("OLD(US1) CUSIP/ISIN CHANGE TO (US2) (OLD, OLD CORP, US2)", "10"),
    ],
)
def test_what_is_not_understood_whole_is_kept_row_by_row(tmp_path: Path, rows: str) -> None:
    activities = read(tmp_path, rows).activities
    assert activities.height == rows.count("<CorporateAction")
    assert activities["kind"].str.starts_with("CorporateAction: ").all()


def test_a_return_of_capital_is_told_by_the_share_and_one_taken_back_is_kept(tmp_path: Path) -> None:
    said = (
        '<CashTransaction currency="USD" symbol="X" description="X(US1) CASH DIVIDEND {} PER SHARE (Return of Capital)" '
        'dateTime="20260302" amount="{}" type="Dividends" transactionID="{}"/>'
    )
    rows = (
        said.format("USD 1.25", "125", 1) + said.format("0.50000000 USD", "50", 2) + said.format("USD 1.25", "-125", 3)
    )
    activities = read(tmp_path, rows).activities
    assert activities["price_usd"].to_list() == ["1.25", "0.50000000", ""]
    assert kinds(read(tmp_path, rows))[2].startswith("CashTransaction: a return of capital")


def test_positions_are_told_once_with_their_cost_and_lots_are_added_up(tmp_path: Path) -> None:
    lot = '<OpenPosition currency="USD" symbol="SPY" position="{}" costBasisMoney="{}" levelOfDetail="{}" reportDate="20261119"/>'
    lots = lot.format("4", "2400", "LOT") + lot.format("6", "3900.5", "LOT")
    for rows in (lots, lot.format("10", "6300.5", "SUMMARY") + lots):
        assert read(tmp_path, rows).positions.select("symbol", "quantity", "cost_usd").rows() == [
            ("SPY", "10", "6300.5")
        ]


def test_two_alike_rows_without_a_number_are_two_and_stay_the_same_rows_in_the_next_statement(tmp_path: Path) -> None:
    fee = '<CashTransaction currency="USD" description="DATA" dateTime="20260103" amount="-1.34" type="Other Fees"/>'
    ids = read(tmp_path, fee + fee).activities["id"].to_list()
    assert len(set(ids)) == 2
    assert read(tmp_path, fee + fee + fee.replace("1.34", "2"), to="20261120").activities["id"].to_list()[:2] == ids


def test_an_attribute_or_element_that_is_not_known_is_no_reason_to_fail(tmp_path: Path) -> None:
    rows = trade(newAttribute="1") + '<Novelty accountId="U1" amount="5" currency="USD"/>'
    assert kinds(read(tmp_path, rows)) == ["trade", "Novelty: it is not translated"]


def test_orders_without_their_executions_are_kept(tmp_path: Path) -> None:
    order = trade(levelOfDetail="ORDER").replace("<Trade ", "<Order ")
    assert kinds(read(tmp_path, order)) == ["Order: it is not translated"]
    assert kinds(read(tmp_path, trade() + order)) == ["trade"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><FlexQueryResponse>&b;</FlexQueryResponse>',
            "document type",
        ),
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>', "document type"),
        ("<FlexQueryResponse><FlexStatements>", "line 1: not XML"),
        ("a,b\n1,2\n", "line 1: not XML"),
        ("<html/>", "holds no FlexStatement"),
        (failed(1012, "Token has expired."), "1012 Token has expired"),
        (flex_statement(to="12/31/2025"), "toDate is no day"),
    ],
)
def test_what_is_no_statement_is_refused_with_the_file_and_the_reason(tmp_path: Path, text: str, says: str) -> None:
    (file := tmp_path / "flex.xml").write_text(text)
    with pytest.raises(Unavailable, match=re.escape(says)) as refused:
        flex.read(file)
    assert str(file) in str(refused.value)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (file := tmp_path / "flex.xml").open("wb") as large:
        large.truncate(MOST_BYTES + 1)
    with pytest.raises(Unavailable, match="ask for a shorter period"):
        flex.read(file)


def test_amounts_are_exact_sums(tmp_path: Path) -> None:
    rows = "".join(trade(ibExecID=f"a.{n:03d}.01.01", transactionID=str(n), netCash="-0.1") for n in range(10))
    assert sum(Decimal(usd) for usd in read(tmp_path, rows).activities["amount_usd"]) == Decimal("-1.0")
