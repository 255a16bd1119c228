"""Exports that people bring: counted once however they come, each row under the account that it is of, damage kept in its row."""

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from pydantic import ValidationError
from small import PORTFOLIO, Small

from flows.connectors import Delivery, OrderRejected, Unavailable
from flows.connectors.banks.files import FileBank
from flows.connectors.brokers.statements import Statements
from flows.connectors.formats import text
from flows.connectors.formats.column_map import ColumnMap
from flows.connectors.formats.gathered import Source
from flows.settings import Portfolio, SettingsError, read_portfolio

DAY, TODAY = date(2025, 6, 13), date(2025, 6, 16)
SCHWAB = '"Date","Action","Symbol","Description","Quantity","Price","Fees & Comm","Amount"'
BUY = '"06/02/2025","Buy","HD","HOME DEPOT INC","10","$300.00","","-$3,000.00"'
SELL = '"06/10/2025","Sell","HD","HOME DEPOT INC","4","$310.00","$0.05","$1,239.95"'
PAID = '"06/11/2025","Qualified Dividend","HD","HOME DEPOT INC","","","","$9.20"'
FIDELITY = "Run Date,Account,Account Number,Action,Symbol,Description,Type,Price,Quantity,Commission,Fees,Accrued Interest,Amount"


def file(folder: Path, *rows: str, name: str = "a.csv", encoding: str = "utf-8", end: str = "\n") -> Path:
    path = folder / name
    path.write_bytes(end.join((*rows, "")).encode(encoding))
    return path


def broker(path: Path, form: str = "schwab", number: str = "", own: str = "", id: str = "mine") -> Statements:
    formats = {"own": ColumnMap.model_validate(tomllib.loads(own))} if own else {}
    return Statements(Source(id, path, form, number, formats), None, TODAY)


def activities(path: Path, form: str = "schwab", **more: str) -> pl.DataFrame:
    return broker(path, form, **more).activities(DAY).rows


def said(rows: pl.DataFrame, *columns: str) -> list[tuple]:
    return rows.select(columns or ("at", "kind", "side", "symbol", "quantity", "price_usd", "amount_usd")).rows()


# Counted once -------------------------------------------------------------------------------------------


def test_a_grown_export_says_the_same_ids_again(tmp_path: Path) -> None:
    before = activities(file(tmp_path, SCHWAB, SELL, BUY))["id"].to_list()
    after = activities(file(tmp_path, SCHWAB, PAID, SELL, BUY))["id"].to_list()
    assert after[1:] == before and len(set(after)) == 3


def test_a_row_in_two_overlapping_exports_counts_once(tmp_path: Path) -> None:
    file(tmp_path, SCHWAB, SELL, BUY, name="may.csv")
    file(tmp_path, SCHWAB, PAID, SELL, name="june.csv")
    rows = activities(tmp_path / "*.csv")
    assert sorted(said(rows, "at", "kind")) == [
        ("2025-06-02", "trade"),
        ("2025-06-10", "trade"),
        ("2025-06-11", "dividend"),
    ]
    assert rows["line"].is_unique().all()


def test_two_equal_rows_of_one_day_count_twice_and_stay_two_when_another_export_has_one(tmp_path: Path) -> None:
    file(tmp_path, SCHWAB, BUY, BUY, name="a.csv")
    assert activities(tmp_path / "a.csv")["id"].n_unique() == 2
    file(tmp_path, SCHWAB, SELL, BUY, name="b.csv")
    assert sorted(activities(tmp_path / "*.csv")["at"]) == ["2025-06-02", "2025-06-02", "2025-06-10"]


def test_columns_in_another_order_and_numbers_printed_otherwise_are_the_same_row(tmp_path: Path) -> None:
    first = activities(file(tmp_path, SCHWAB, BUY))["id"].to_list()
    other = file(
        tmp_path,
        "Date,Action,Symbol,Description,Price,Quantity,Fees & Comm,Amount,New",
        "06/02/2025,Buy,HD,HOME DEPOT  INC,300.00,10,,-3000.00,x",
    )
    assert activities(other)["id"].to_list() == first


def test_ids_are_led_by_the_account_so_that_two_accounts_may_buy_alike(tmp_path: Path) -> None:
    path = file(tmp_path, SCHWAB, BUY)
    a, b = activities(path, id="ira")["id"][0], activities(path, id="roth")["id"][0]
    assert a.startswith("ira:") and b.startswith("roth:") and a.split(":")[1] == b.split(":")[1]


# Whose rows ---------------------------------------------------------------------------------------------


def fidelity(folder: Path) -> Path:
    return file(
        folder,
        FIDELITY,
        '06/02/2025,"IRA","Z11111111","YOU BOUGHT HOME DEPOT INC (HD) (Cash)",HD,"HOME DEPOT",Cash,300,10,,,,-3000',
        '06/03/2025,"HSA","Z22222222","DIVIDEND RECEIVED HOME DEPOT INC (HD) (Cash)",HD,"HOME DEPOT",Cash,,0.000,,,,9.2',
        '06/04/2025,,,"DIVIDEND RECEIVED HOME DEPOT INC (HD) (Cash)",HD,"HOME DEPOT",Cash,,0.000,,,,1.1',
        "",
        "Date downloaded 06/12/2025 7:00 pm",
    )


def test_of_a_file_with_several_accounts_only_the_numbered_one_is_taken(tmp_path: Path) -> None:
    rows = activities(fidelity(tmp_path), "fidelity", number="1111")
    assert said(rows, "at", "kind") == [("2025-06-02", "trade"), ("2025-06-04", "dividend of no account")]


def test_without_a_number_a_file_with_several_accounts_is_refused_and_shows_no_more_than_their_ends(
    tmp_path: Path,
) -> None:
    with pytest.raises(Unavailable, match=r"several accounts .…1111, …2222.: say which is mine with number") as refused:
        activities(fidelity(tmp_path), "fidelity")
    assert "Z1111" not in str(refused.value)


def test_a_number_that_the_file_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not of the account that mine names"):
        activities(fidelity(tmp_path), "fidelity", number="9999")


# How fresh, and what is held ----------------------------------------------------------------------------


def test_an_export_speaks_for_the_day_that_it_names_itself(tmp_path: Path) -> None:
    assert broker(fidelity(tmp_path), "fidelity", number="1111").activities(DAY).stated_on == date(2025, 6, 12)


def test_an_export_that_names_no_day_speaks_as_far_as_its_newest_row_and_no_further_than_the_day_asked(
    tmp_path: Path,
) -> None:
    one = broker(file(tmp_path, SCHWAB, SELL, BUY))
    assert one.activities(DAY).stated_on == date(2025, 6, 10)
    assert one.activities(date(2025, 6, 5)).stated_on == date(2025, 6, 5)


def test_a_row_dated_in_the_future_makes_no_export_fresh(tmp_path: Path) -> None:
    assert broker(file(tmp_path, SCHWAB, BUY, BUY.replace("2025", "2099"))).activities(DAY).stated_on == date(
        2025, 6, 2
    )


def test_without_positions_there_is_nothing_to_compare_and_the_account_is_as_fresh_as_its_rows(tmp_path: Path) -> None:
    held = broker(file(tmp_path, SCHWAB, SELL)).positions(DAY)
    assert held == Delivery("mine", "positions", date(2025, 6, 10), held.rows) and held.rows.is_empty()


def test_a_known_account_takes_no_orders(tmp_path: Path) -> None:
    with pytest.raises(OrderRejected, match="by its statements only"):
        broker(file(tmp_path, SCHWAB, BUY)).cancel_order("x")


# The lines of an export are as long as they are.
# ruff: noqa: E501
VANGUARD = """Account Number,Investment Name,Symbol,Shares,Share Price,Total Value,
77001234,VANGUARD TOTAL STOCK MARKET ETF,VTI,12.5,250.00,3125.00,
77001234,VANGUARD FEDERAL MONEY MARKET FUND,VMFXX,80.20,1.0,80.20,

Account Number,Trade Date,Settlement Date,Transaction Type,Transaction Description,Investment Name,Symbol,Shares,Share Price,Principal Amount,Commissions and Fees,Net Amount,Accrued Interest,Account Type,
77001234,2025-06-04,2025-06-05,Sweep out,Sweep,VANGUARD FEDERAL MONEY MARKET FUND,VMFXX,0.00,1.0,2500.00,0.0,2500.00,0.0,CASH,
77001234,2025-06-04,2025-06-05,Buy,Buy,VANGUARD TOTAL STOCK MARKET ETF,VTI,10.0,250.00,-2500.00,0.0,-2500.00,0.0,CASH,
77001234,2025-06-06,2025-06-06,Dividend,Dividend,VANGUARD TOTAL STOCK MARKET ETF,VTI,0.0,0.0,9.90,0.0,9.90,0.0,CASH,
77001234,2025-06-06,2025-06-06,Reinvestment,Reinvest,VANGUARD TOTAL STOCK MARKET ETF,VTI,0.0396,250.00,-9.90,0.0,-9.90,0.0,CASH,
77001234,2025-06-06,2025-06-06,Reinvestment,Reinvest,VANGUARD FEDERAL MONEY MARKET FUND,VMFXX,0.20,1.0,-0.20,0.0,-0.20,0.0,CASH,
77001234,2025-06-09,2025-06-09,Stock split,Split,VANGUARD TOTAL STOCK MARKET ETF,VTI,2.4604,0.0,0.0,0.0,0.0,0.0,CASH,
"""


def test_vanguard_says_what_is_held_and_its_settlement_fund_is_cash(tmp_path: Path) -> None:
    one = broker(file(tmp_path, VANGUARD), "vanguard")
    assert said(one.positions(DAY).rows, "symbol", "quantity", "as_of") == [
        ("VTI", "12.5", "2025-06-09"), ("USD", "80.20", "2025-06-09"),
    ]  # fmt: skip
    assert said(one.activities(DAY).rows, "kind", "side", "quantity", "amount_usd") == [
        ("trade", "buy", "10.0", "-2500.00"), ("dividend", "", "", "9.90"), ("dividend_reinvested", "buy", "0.0396", "-9.90"),
        ("Stock split", "", "2.4604", "0.0"),
    ]  # fmt: skip


# What actions become ------------------------------------------------------------------------------------


def test_options_are_named_alike_and_what_opens_or_closes_is_kept(tmp_path: Path) -> None:
    schwab = file(
        tmp_path,
        SCHWAB,
        '"06/02/2025","Sell to Open","HD 07/18/2025 320.00 C","CALL HOME DEPOT","1","$4.10","$0.66","$409.34"',
        '"06/03/2025","Expired","HD 06/06/2025 330.00 C","CALL HOME DEPOT","-1","","",""',
        '"06/03/2025","Buy","HD 06/06/2025 330.00 C","CALL HOME DEPOT","1","$1.00","","-$100.00"',
        '"06/04/2025","Stock Split","HD","HOME DEPOT INC","10","","",""',
    )
    assert said(activities(schwab), "kind", "side", "symbol", "strike_usd", "amount_usd", "note") == [
        ("option_open", "sell", "HD250718C00320000", "320.00", "409.34", ""),
        ("option_expire", "sell", "HD250606C00330000", "330.00", "", ""),
        ("Buy", "", "HD 06/06/2025 330.00 C", "", "-100.00", "an option that does not say whether it opens or closes"),
        ("Stock Split", "", "HD", "", "", "no action of this format"),
    ]
    robin = file(
        tmp_path,
        '"Activity Date","Process Date","Settle Date","Instrument","Description","Trans Code","Quantity","Price","Amount"',
        '"6/2/2025","6/2/2025","6/3/2025","HD","HD 7/18/2025 Call $320.00","BTO","2","$4.10","($820.04)"',
        '"6/3/2025","6/3/2025","6/4/2025","HD","Home Depot\nCUSIP: 437076102","CDIV","","","$9.20"',
        '"","","","","","","","","","The data provided is for informational purposes only, and, so on."',
        name="r.csv",
    )
    assert said(activities(robin, "robinhood"), "kind", "side", "symbol", "quantity", "amount_usd") == [
        ("option_open", "buy", "HD250718C00320000", "2", "-820.04"),
        ("dividend", "", "HD", "", "9.20"),
    ]


IBKR = """Statement,Header,Field Name,Field Value
Statement,Data,Period,"June 1, 2025 - June 11, 2025"
Account Information,Header,Field Name,Field Value
Account Information,Data,Account,U1234567
Account Information,Data,Base Currency,USD
Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Proceeds,Comm/Fee,Basis,Realized P/L,MTM P/L,Code
Trades,Data,Order,Stocks,USD,HD,"2025-06-02, 10:31:22","1,000",300.5,301,-300500,-1.25,300501.25,0,500,O
Trades,Data,ClosedLot,Stocks,USD,HD,"2025-06-02, 10:31:22",10,300.5,,,,,,,
Trades,Data,Order,Stocks,USD,HD,"2025-06-03, 15:00:00",-4,310,309,1240,-1,-1202,37,4,C
Trades,SubTotal,,Stocks,USD,HD,,996,,,-299260,-2.25,,,,
Trades,Header,DataDiscriminator,Asset Category,Currency,Symbol,Date/Time,Quantity,T. Price,C. Price,Proceeds,Comm in USD,Basis,Realized P/L,MTM P/L,Code
Trades,Data,Order,Forex,USD,EUR.USD,"2025-06-03, 15:00:00",100,1.1,,-110,-2,,,,
Dividends,Header,Currency,Date,Description,Amount
Dividends,Data,USD,2025-06-05,HD(US4370761029) Cash Dividend USD 2.30 per Share (Ordinary Dividend),2300
Dividends,Data,EUR,2025-06-05,SAP(DE0007164600) Cash Dividend EUR 2 per Share,20
Dividends,Data,Total,,,2300
Corporate Actions,Header,Asset Category,Currency,Report Date,Date/Time,Description,Quantity,Proceeds,Value,Realized P/L,Code
Corporate Actions,Data,Stocks,USD,2025-06-06,"2025-06-05, 20:25:00",XYZ(US0) Split 4 for 1,30,0,0,0,
Deposits & Withdrawals,Header,Currency,Settle Date,Description,Amount
Deposits & Withdrawals,Data,USD,2025-06-01,Electronic Fund Transfer,400000
Open Positions,Header,DataDiscriminator,Asset Category,Currency,Symbol,Quantity,Mult,Cost Price,Cost Basis,Close Price,Value,Unrealized P/L,Code
Open Positions,Data,Summary,Stocks,USD,HD,996,1,300.5,299298,309,307764,8466,
"""


def test_the_sections_of_interactive_brokers_are_tables_of_their_own(tmp_path: Path) -> None:
    one = broker(file(tmp_path, IBKR), "ibkr", number="4567")
    delivery = one.activities(DAY)
    assert delivery.stated_on == date(2025, 6, 11)
    assert said(delivery.rows) == [
        ("2025-06-02T10:31:22", "trade", "buy", "HD", "1000", "300.5", "-300501.25"),
        ("2025-06-03T15:00:00", "trade", "sell", "HD", "4", "310", "1239.00"),
        ("2025-06-03T15:00:00", "Forex", "", "EUR.USD", "100", "1.1", ""),
        ("2025-06-05", "dividend", "", "HD", "", "", "2300"),
        ("2025-06-05", "Dividends", "", "SAP", "", "", "20"),
        ("2025-06-06", "XYZ(US0) Split 4 for 1", "", "", "30", "", "0"),
        ("2025-06-01", "deposit", "", "", "", "", "400000"),
    ]
    assert said(one.positions(DAY).rows, "symbol", "quantity", "cost_usd") == [("HD", "996", "299298")]


def test_the_price_is_the_one_that_the_amount_was_settled_at_and_a_contradiction_is_set_aside(tmp_path: Path) -> None:
    rounded = BUY.replace('"10","$300.00"', '"9.598","$312.57"')
    false = BUY.replace("$300.00", "$330.00")
    unpriced = BUY.replace('"$300.00"', '""')
    rows = activities(file(tmp_path, SCHWAB, rounded, false, unpriced))
    assert said(rows, "kind", "price_usd", "note") == [
        ("trade", "312.565117733", ""), ("Buy", "330.00", "quantity x price is not the amount"), ("trade", "300.000000000", ""),
    ]  # fmt: skip


OFX = """OFXHEADER:100
DATA:OFXSGML
VERSION:102

<OFX><INVSTMTMSGSRSV1><INVSTMTTRNRS><INVSTMTRS><DTASOF>20250612200000<CURDEF>USD<INVACCTFROM><BROKERID>x<ACCTID>55501</INVACCTFROM>
<INVTRANLIST><DTSTART>20250101<DTEND>20250612
<REINVEST><INVTRAN><FITID>F1<DTTRADE>20250602120000[-4:EDT]<MEMO>A &amp; B</INVTRAN><SECID><UNIQUEID>437076102<UNIQUEIDTYPE>CUSIP</SECID>
<INCOMETYPE>DIV<TOTAL>-30.00<UNITS>0.1<UNITPRICE>300</REINVEST>
<SPLIT><INVTRAN><FITID>F2<DTTRADE>20250603</INVTRAN><SECID><UNIQUEID>98765</SECID><NUMERATOR>2<DENOMINATOR>1</SPLIT>
<BUYOPT><INVBUY><INVTRAN><FITID>F3<DTTRADE>20250604</INVTRAN><SECID><UNIQUEID>OPT1</SECID><UNITS>1<UNITPRICE>4.10<TOTAL>-410</INVBUY>
<OPTBUYTYPE>BUYTOOPEN<SHPERCTRCT>100</BUYOPT>
<BUYSTOCK><INVBUY><INVTRAN><FITID>F4<DTTRADE>2025-06-04</INVTRAN><SECID><UNIQUEID>437076102</SECID><UNITS>1<UNITPRICE>300<TOTAL>-300
<SELLSTOCK><INVSELL><INVTRAN><FITID>F5<DTTRADE>20250605</INVTRAN><SECID><UNIQUEID>437076102</SECID><UNITS>-1<UNITPRICE>300<TOTAL>300
<ORIGCURRENCY><CURRATE>1.1<CURSYM>EUR</ORIGCURRENCY></INVSELL>
</INVTRANLIST><INVPOSLIST><POSSTOCK><INVPOS><SECID><UNIQUEID>437076102</SECID><HELDINACCT>CASH<POSTYPE>LONG<UNITS>1.5</INVPOS></POSSTOCK>
<POSSTOCK><INVPOS><SECID><UNIQUEID>437076102</SECID><HELDINACCT>MARGIN<POSTYPE>LONG<UNITS>2</INVPOS></POSSTOCK></INVPOSLIST>
<INVBAL><AVAILCASH>12.34</INVBAL></INVSTMTRS></INVSTMTTRNRS></INVSTMTMSGSRSV1>
<SECLISTMSGSRSV1><SECLIST><STOCKINFO><SECINFO><SECID><UNIQUEID>437076102</SECID><TICKER>HD</SECINFO></STOCKINFO>
<OPTINFO><SECINFO><SECID><UNIQUEID>OPT1</SECID><TICKER>HD 250718C320</SECINFO><OPTTYPE>CALL<STRIKEPRICE>320<DTEXPIRE>20250718<SECID>
<UNIQUEID>437076102</SECID></OPTINFO></SECLIST></SECLISTMSGSRSV1></OFX>
"""


def test_ofx_tells_reinvestments_splits_options_and_what_is_held_and_damage_stays_in_its_row(tmp_path: Path) -> None:
    one = broker(file(tmp_path, OFX, name="a.qfx"), "ofx")
    assert said(one.activities(DAY).rows, "id", "at", "kind", "side", "symbol", "amount_usd", "ratio") == [
        ("mine:F1:income", "2025-06-02", "dividend", "", "HD", "30.00", ""),
        ("mine:F1", "2025-06-02", "dividend_reinvested", "buy", "HD", "-30.00", ""),
        ("mine:F2", "2025-06-03", "split", "", "98765", "", "2:1"),
        ("mine:F3", "2025-06-04", "option_open", "buy", "HD250718C00320000", "-410", ""),
        ("mine:F4", "'2025-06-04' is no day", "trade", "buy", "HD", "-300", ""),
        ("mine:F5", "2025-06-05", "trade", "sell", "HD", "300", ""),
    ]
    held = one.positions(DAY)
    assert held.stated_on == date(2025, 6, 12)
    assert said(held.rows, "symbol", "quantity") == [("HD", "3.5"), ("USD", "12.34")]


# A household's own format -------------------------------------------------------------------------------

OWN = """
dates = ["%d.%m.%Y"]
encoding = "cp1252"
delimiter = ";"
decimal = ","
thousands = "."
skip_top = 1
[columns]
date = "Datum"
action = "Vorgang"
symbol = "Kürzel"
quantity = "Stück"
price = "Kurs"
amount = "Betrag"
[actions]
"Kauf*" = "buy"
"Gebühr" = "charge"
"""


def test_ten_lines_describe_any_other_export(tmp_path: Path) -> None:
    path = file(
        tmp_path, "Umsätze; Datum", "Datum;Vorgang;Kürzel;Stück;Kurs;Betrag", "02.06.2025;Kauf Börse;HD;10;300,50;(3.005,00)",
        "03.06.2025;Gebühr;;;;1,50", "03.06.2025;Umbuchung;;;;1,50", encoding="cp1252",
    )  # fmt: skip
    assert said(activities(path, "own", own=OWN)) == [
        ("2025-06-02", "trade", "buy", "HD", "10", "300.50", "-3005.00"),
        ("2025-06-03", "fee", "", "", "", "", "-1.50"),
        ("2025-06-03", "Umbuchung", "", "", "", "", "1.50"),
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('columns = { date = "D" }', "say what the rows are"),
        ('columns = { date = "D", action = "A" }\nactions = { "B" = "purchase" }', "purchase: not one of buy, sell"),
        ('kind = "bank_lines"\ncolumns = { date = "D" }', "columns lacks amount"),
        ('always = "fee"\nstated_on = "as of"\ncolumns = { date = "D" }', "has not one group"),
        ('always = "fee"\nstated_on = "(as of"\ncolumns = { date = "D" }', "is no regular expression"),
        ('always = "fee"\nencoding = "utf-9"\ncolumns = { date = "D" }', "is no text encoding"),
    ],
)
def test_a_wrong_column_map_stops_with_what_is_wrong(tmp_path: Path, wrong: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ColumnMap.model_validate(tomllib.loads(wrong))


def test_a_format_that_nobody_knows_stops_the_settings(tmp_path: Path) -> None:
    account = '[[accounts]]\nid = "a"\nname = "a"\ntype = "taxable"\nowner = "self"\nbroker = "statements"\nactivities = "a.csv"\n'
    path = tmp_path / "portfolio.toml"
    path.write_text(PORTFOLIO + account + 'format = "swab"\n')
    with pytest.raises(SettingsError, match=r"format swab is not known; one of .*schwab"):
        read_portfolio(path)
    path.write_text(
        PORTFOLIO
        + account
        + 'format = "swab"\n'
        + "[formats.swab]"
        + OWN.replace("[columns]", "[formats.swab.columns]").replace("[actions]", "[formats.swab.actions]")
    )
    assert isinstance(read_portfolio(path), Portfolio)


# Files as they come -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
@pytest.mark.parametrize("end", ["\r\n", "\r", "\n\n"])
def test_encodings_and_line_ends_change_no_row(tmp_path: Path, encoding: str, end: str) -> None:
    plain = activities(file(tmp_path, SCHWAB, SELL, BUY)).drop("line")
    assert activities(file(tmp_path, SCHWAB, SELL, BUY, encoding=encoding, end=end)).drop("line").equals(plain)


def test_prose_totals_blank_lines_and_a_header_that_comes_again_are_no_rows(tmp_path: Path) -> None:
    path = file(
        tmp_path, '"Transactions  for account Joint XXXX-1234 as of 06/12/2025 09:00:00 PM ET"', "", SCHWAB, SELL, ",,,,,,,", SCHWAB, BUY,
        '"Transactions Total","","","","","","","-$1,760.05",', '"Prices, and so on, are not guaranteed."',
    )  # fmt: skip
    delivery = broker(path, number="1234").activities(DAY)
    assert delivery.stated_on == date(2025, 6, 12) and delivery.rows["line"].to_list() == [4, 7]


def test_a_quote_that_is_never_closed_spoils_its_own_row_only(tmp_path: Path) -> None:
    rows = activities(file(tmp_path, SCHWAB, SELL, BUY.replace('INC"', "INC"), PAID))
    assert rows["line"].to_list() == [2, 3, 4] and rows["kind"][2] == "dividend"
    assert rows["(surplus)"].to_list() == ["", "a quote is never closed", ""]


def test_what_a_row_said_is_kept_whatever_becomes_of_it(tmp_path: Path) -> None:
    rows = activities(file(tmp_path, SCHWAB, BUY.replace('"Buy"', '"Reorganisation"').replace("$300.00", "3oo")))
    assert '"Price": "3oo"' in rows["said"][0] and rows["kind"][0] == "Reorganisation"
    assert rows["price_usd"][0] == "'3oo' is no number"


@pytest.mark.parametrize(
    ("rows", "form", "looks"),
    [
        ((SCHWAB, BUY), "fidelity", 'it looks like format = "schwab"'),
        ((FIDELITY,), "schwab", 'it looks like format = "fidelity"'),
        ((OFX,), "schwab", 'it looks like format = "ofx"'),
        ((SCHWAB, BUY), "ibkr", 'it looks like format = "schwab"'),
        ((SCHWAB, BUY), "ofx", 'it looks like format = "schwab"'),
        ((SCHWAB, BUY), "thresher", 'it looks like format = "schwab"'),
        (('<FlexQueryResponse queryName="q" type="AF"/>',), "schwab", 'it looks like format = "flex"'),
        (("Symbol,Closed Date,Opened Date,Quantity",), "schwab", "it looks like a report of realized gains"),
        (("%PDF-1.7",), "schwab", "is a PDF: export the statement as CSV"),
        (("",), "schwab", "is empty"),
        ((SCHWAB, BUY.replace("06/02/2025", "2025-06-02")), "schwab", "no row of the file has a day like %m/%d/%Y"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_it_looks_like(
    tmp_path: Path, rows: tuple[str, ...], form: str, looks: str
) -> None:
    with pytest.raises(Unavailable) as refused:
        activities(file(tmp_path, *rows), form)
    assert looks in str(refused.value) and str(tmp_path) in str(refused.value)


def test_a_file_that_is_missing_a_folder_or_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        activities(tmp_path / "none.csv")
    with pytest.raises(Unavailable, match="is no file"):
        activities(tmp_path)
    with pytest.raises(Unavailable, match="no file matches"):
        activities(tmp_path / "*.csv")
    monkeypatch.setattr(text, "MOST_BYTES", 100)
    with pytest.raises(Unavailable, match="at most 100 are read"):
        activities(file(tmp_path, SCHWAB, BUY))


def test_one_file_of_several_that_cannot_be_read_stops_the_account_because_it_may_hold_a_purchase(
    tmp_path: Path,
) -> None:
    file(tmp_path, SCHWAB, BUY)
    file(tmp_path, "%PDF", name="b.csv")
    with pytest.raises(Unavailable, match="is a PDF"):
        activities(tmp_path / "*.csv")


def test_reading_that_takes_too_long_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MOST_SECONDS", -1)
    with pytest.raises(Unavailable, match="takes longer"):
        activities(file(tmp_path, SCHWAB, BUY))


# Banks --------------------------------------------------------------------------------------------------

CARD = """OFXHEADER:100

<OFX><BANKMSGSRSV1><STMTTRNRS><STMTRS><CURDEF>USD<BANKACCTFROM><ACCTID>9001</BANKACCTFROM><BANKTRANLIST><DTSTART>20250601<DTEND>20250612
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20250603120000<TRNAMT>-12.50<FITID>B1<NAME>HOSTING<MEMO>HOSTING JUNE</STMTTRN>
</BANKTRANLIST></STMTRS></STMTTRNRS><STMTTRNRS><STMTRS><CURDEF>USD<BANKACCTFROM><ACCTID>9002</BANKACCTFROM><BANKTRANLIST><DTEND>20250612
<STMTTRN><TRNTYPE>DEBIT<DTPOSTED>20250603<TRNAMT>-99<FITID>B1<NAME>OTHER</STMTTRN></BANKTRANLIST></STMTRS></STMTTRNRS></BANKMSGSRSV1></OFX>"""


def lines(path: Path, form: str, number: str = "") -> Delivery:
    return FileBank(Source("bank", path, form, number, {}), TODAY).lines(DAY)


def test_a_bank_sends_ofx_with_several_accounts_and_its_own_ids(tmp_path: Path) -> None:
    delivery = lines(file(tmp_path, CARD), "ofx", "9001")
    assert delivery.stated_on == date(2025, 6, 12)
    assert said(delivery.rows, "id", "posted_on", "description", "amount_usd") == [
        ("B1", "2025-06-03", "HOSTING JUNE", "-12.50")
    ]


def test_a_bank_sends_csv_with_withdrawals_and_deposits_in_two_columns(tmp_path: Path) -> None:
    head = '"Date","Status","Type","CheckNumber","Description","Withdrawal","Deposit","RunningBalance"'
    path = file(
        tmp_path,
        head,
        '06/03/2025,Posted,ACH,,Hosting,"$1,002.00",,$3.00',
        "06/04/2025,Posted,INT,,Interest,,$1.00,$4.00",
    )
    rows = lines(path, "schwab_bank").rows
    assert said(rows, "posted_on", "description", "amount_usd") == [
        ("2025-06-03", "Hosting", "-1002.00"), ("2025-06-04", "Interest", "1.00"),
    ]  # fmt: skip
    path = file(tmp_path, head, "06/03/2025,Posted,ACH,,Hosting,$1002.00,,$77.00", name="b.csv")
    assert lines(path, "schwab_bank").rows["id"][0] == rows["id"][0], "the running balance is no part of a line"


def test_a_line_in_another_currency_passes_for_no_dollars(tmp_path: Path) -> None:
    path = file(
        tmp_path,
        "Date,Name,Currency,Net,Transaction ID",
        "06/03/2025,Host,EUR,-20.00,P1",
        "06/03/2025,Host,USD,-20.00,P2",
    )
    assert lines(path, "paypal").rows["amount_usd"].to_list() == ["-20.00 EUR", "-20.00"]


# Through a whole day ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def booked(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """A household with an account of every kind of format, booked on a day and again with grown and overlapping files."""
    small = Small(tmp_path_factory.mktemp("formats") / "home", {"HD": 300.0, "VTI": 250.0})
    small.home.mkdir(exist_ok=True)
    (small.home / "schwab").mkdir()
    cash = '"06/01/2025","MoneyLink Transfer","","BANK","","","","$9,000.00"'
    file(small.home / "schwab", SCHWAB, BUY, cash)
    file(
        small.home,
        FIDELITY,
        '06/02/2025,"IRA","Z1","YOU BOUGHT HOME DEPOT",HD,"HOME DEPOT",Cash,300,10,,,,-3000',
        name="f.csv",
    )
    file(
        small.home,
        "Activity Date,Instrument,Trans Code,Quantity,Price,Amount",
        "6/2/2025,HD,Buy,10,$300.00,($3000.00)",
        name="r.csv",
    )
    file(small.home, VANGUARD, name="v.csv")
    file(small.home, IBKR, name="i.csv")
    file(small.home, OFX, name="o.qfx")
    file(
        small.home,
        "Datum;Vorgang;Kürzel;Stück;Kurs;Betrag",
        "02.06.2025;Kauf;HD;10;300,00;-3.000,00",
        name="w.csv",
        encoding="cp1252",
    )
    file(
        small.home,
        "id,at,kind,side,symbol,quantity,price_usd,fee_usd,amount_usd,lots",
        "T1,2025-06-02,trade,buy,HD,10,300,,-3000,",
        name="t.csv",
    )
    file(small.home, "symbol,quantity,as_of", "HD,10,2025-06-13", "USD,-3000,2025-06-13", name="t-held.csv")
    file(small.home, CARD, name="card.qfx")
    odd = (
        "T2,infinity,deposit,,,,,,5,",
        "T3,0000-01-01,deposit,,,,,,5,",
        "T4,2025-06-03,deposit,,,,,,100000000000000000007.94,",
    )
    with (small.home / "t.csv").open("a") as more:
        more.write("\n".join((*odd, "")))
    form = (
        OWN.replace("skip_top = 1\n", "")
        .replace("[columns]", "[formats.swab.columns]")
        .replace("[actions]", "[formats.swab.actions]")
    )
    for name, files, more in (
        ("schwab", "schwab/*.csv", ""), ("fidelity", "f.csv", 'number = "Z1"'), ("robinhood", "r.csv", ""), ("vanguard", "v.csv", ""),
        ("ibkr", "i.csv", ""), ("ofx", "o.qfx", ""), ("swab", "w.csv", ""), ("thresher", "t.csv", 'positions = "t-held.csv"'),
    ):  # fmt: skip
        small.portfolio += (
            f'[[accounts]]\nid = "{name}"\nname = "{name}"\ntype = "taxable"\nowner = "self"\nbroker = "statements"\n'
            f'activities = "{files}"\nformat = "{name}"\nmax_age_days = 90\n{more}\n'
        )
    small.portfolio += (
        '[[banks]]\nid = "card"\nlines = "card.qfx"\nformat = "ofx"\nnumber = "9002"\n[formats.swab]' + form
    )
    small.run(DAY)
    file(small.home / "schwab", SCHWAB, PAID, SELL, BUY, name="later.csv")
    small.run(TODAY)
    return small


def test_an_account_of_every_format_is_booked_and_overlapping_files_book_nothing_twice(booked: Small) -> None:
    held = {
        (account, symbol): quantity
        for account, symbol, quantity in booked.ask("SELECT account_id, security_id, quantity FROM mart.positions")
    }
    assert held == {
        ("schwab", "HD"): Decimal(6), ("fidelity", "HD"): Decimal(10), ("robinhood", "HD"): Decimal(10),
        ("vanguard", "VTI"): Decimal("10.0396"), ("ibkr", "HD"): Decimal(996), ("swab", "HD"): Decimal(10), ("thresher", "HD"): Decimal(10),
    } | {key: quantity for key, quantity in held.items() if key[0] == "ofx"}  # fmt: skip
    assert booked.ask("SELECT count(*), max(version) FROM ledger.transactions WHERE account_id = 'schwab'") == [(4, 1)]


def test_what_could_not_be_translated_waits_with_what_it_said(booked: Small) -> None:
    waiting = booked.ask(
        "SELECT source, payload ->> 'kind', payload ->> 'said' FROM core.set_aside "
        "WHERE kind = 'activities' AND source <> 'thresher' ORDER BY ALL"
    )
    assert [(source, kind) for source, kind, _ in waiting] == [
        ("ibkr", "Dividends"), ("ibkr", "Forex"), ("ibkr", "XYZ(US0) Split 4 for 1"), ("ofx", "trade"), ("vanguard", "Stock split"),
    ]  # fmt: skip
    assert all(said for *_, said in waiting)


def test_accounts_without_positions_have_no_breaks_and_those_with_positions_have(booked: Small) -> None:
    broken = {account for (account,) in booked.ask("SELECT DISTINCT account_id FROM core.breaks")}
    assert not broken & {"schwab", "fidelity", "robinhood", "swab", "thresher"}
    unsound = booked.ask("SELECT source, kind FROM core.source_status WHERE NOT is_sound AND kind <> 'prices'")
    assert unsound == []


def test_a_bank_of_a_file_with_several_accounts_has_its_own_lines(booked: Small) -> None:
    assert booked.ask("SELECT bank_id, bank_line_id, description, amount_usd FROM stg.bank_lines") == [
        ("card", "B1", "OTHER", Decimal(-99))
    ]


def test_days_and_amounts_beyond_all_bounds_are_set_aside_and_stop_nothing(booked: Small) -> None:
    assert booked.ask("SELECT line, reason FROM core.set_aside WHERE source = 'thresher' ORDER BY line") == [
        (3, "traded_on is missing or cannot be read"),
        (4, "traded_on is missing or cannot be read"),
        (5, "amount_usd is more than can be booked"),
    ]
