"""Every kind of event in a broker's activities, from the file to the books, the cash and the broker's positions."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from small import Small

from flows.lots_rows import KINDS as READ
from transforms.tables import CASH, KINDS, OF_LOTS

FRIDAY, MONDAY = date(2026, 3, 6), date(2026, 3, 9)
LOTS = (
    "SELECT lot_id, quantity, basis_usd FROM core.lots WHERE account_id = 'joint' AND security_id = '{}' ORDER BY ALL"
)


@pytest.fixture
def small(tmp_path: Path) -> Small:
    made = Small(tmp_path / "home", {"ABC": 12.0, "NEW": 5.0})
    made.account("joint")
    return made


def lots(house: Small, security: str = "ABC") -> list[tuple[str, Decimal, Decimal]]:
    return house.ask(LOTS.format(security))


def disposals(house: Small) -> list[tuple]:
    return house.ask(
        "SELECT trade_id, lot_id, quantity, proceeds_usd, basis_usd, term FROM core.disposals ORDER BY ALL"
    )


BOUGHT = "B-1,2026-01-05,trade,buy,ABC,100,30,0,-3000,"
PAID_IN = "D-1,2026-01-02,deposit,,,,,,10000,"


def test_the_ledger_takes_every_kind_that_the_reader_knows():
    assert {*OF_LOTS} - {"trade", "correction"} == {*READ} - {"buy", "sell"}
    assert {*KINDS} == {*OF_LOTS, *CASH, "bust"}


def test_a_split_of_three_for_one_is_in_lots_sales_and_positions(small):
    rows = (
        PAID_IN, BOUGHT, "X-1,2026-02-02,split,,ABC,,,,,,3:1",
        "S-1,2026-03-02,trade,sell,ABC,30,12,0,360,",
    )  # fmt: skip
    small.says("joint", *rows, columns=",ratio")
    small.holds("joint", FRIDAY, ABC="270", usd="7360")
    text = small.run(FRIDAY)
    assert lots(small) == [("B-1", 270, 2700)]
    assert disposals(small) == [("S-1", "B-1", 30, 360, 300, "short")]
    assert small.ask("FROM core.breaks") == [] and small.ask("FROM mart.set_aside") == []
    assert "0 rows set aside" in text


def test_of_two_rows_with_one_id_the_one_that_stays_is_booked_when_the_other_is_gone(small):
    first, second = "Q-5,2026-01-05,trade,buy,ABC,10,30,0,-300,", "Q-5,2026-01-05,trade,buy,ABC,10,31,0,-310,"
    small.says("joint", PAID_IN, first, second)
    small.holds("joint", FRIDAY, ABC="10", usd="9690")
    assert "1 rows set aside" in small.run(FRIDAY)
    raw = small.ask("SELECT count(*) FROM raw.activities")
    small.run(FRIDAY)
    assert small.ask("SELECT count(*) FROM raw.activities") == raw
    small.says("joint", PAID_IN, second)
    assert "0 rows set aside" in small.run(FRIDAY)
    assert lots(small) == [("Q-5", 10, 310)]
    assert small.ask("FROM core.breaks") == []


def test_a_split_that_the_broker_did_and_the_ledger_does_not_know_is_a_break_that_says_so(small):
    small.says("joint", PAID_IN, BOUGHT)
    small.holds("joint", FRIDAY, ABC="300", usd="7000")
    small.run(FRIDAY)
    [(security, broker, ledger, guess)] = small.ask(
        "SELECT security_id, broker_quantity, ledger_quantity, guess FROM core.breaks"
    )
    assert (security, broker, ledger) == ("ABC", 300, 100)
    assert guess == "the broker holds 3:1 of what the ledger does: a split is missing"


def test_a_split_is_done_in_every_account_though_one_broker_alone_has_said_it_yet(small):
    small.account("other", owner="self")
    small.says("joint", PAID_IN, BOUGHT, "X-1,2026-02-02,split,,ABC,,,,,,3:1", columns=",ratio")
    small.says("other", "D-2,2026-01-02,deposit,,,,,,1000,", "B-2,2026-01-05,trade,buy,ABC,10,30,0,-300,")
    small.holds("joint", FRIDAY, ABC="300", usd="7000")
    small.holds("other", FRIDAY, ABC="30", usd="700")
    small.run(FRIDAY)
    assert small.ask("SELECT lot_id, quantity FROM core.lots ORDER BY ALL") == [("B-1", 300), ("B-2", 30)]
    assert small.ask("FROM core.breaks") == []
    small.says(
        "other", "D-2,2026-01-02,deposit,,,,,,1000,", "B-2,2026-01-05,trade,buy,ABC,10,30,0,-300,",
        "X-2,2026-02-02,split,,ABC,,,,,,3:1", columns=",ratio",
    )  # fmt: skip
    small.run(MONDAY)
    assert small.ask("SELECT lot_id, quantity FROM core.lots ORDER BY ALL") == [("B-1", 300), ("B-2", 30)], "said twice"


def test_a_return_of_capital_brings_cash_lowers_the_basis_and_is_a_gain_above_it(small):
    rows = (
        PAID_IN,
        BOUGHT,
        "B-2,2026-01-06,trade,buy,ABC,100,1,0,-100,",
        "R-1,2026-02-02,return_of_capital,,ABC,,2,,400,",
    )
    small.says("joint", *rows)
    small.holds("joint", FRIDAY, ABC="200", usd="7300")
    small.run(FRIDAY)
    assert lots(small) == [("B-1", 100, 2800), ("B-2", 100, 0)]
    assert disposals(small) == [("R-1", "B-2", 0, 100, 0, "short")]
    assert small.ask("SELECT cash_usd FROM mart.cash") == [(7300,)] and small.ask("FROM core.breaks") == []
    assert small.ask("SELECT quantity, gain_usd, adjustment_code FROM core.reported_sales") == [(0, 100, "")]


def test_a_dividend_that_is_reinvested_is_income_once_and_a_lot(small):
    rows = (
        PAID_IN, BOUGHT, "V-1,2026-02-02,dividend_reinvested,buy,ABC,2,12.5,0,0,",
        "V-2,2026-02-09,dividend,,ABC,,,,30,", "V-3,2026-02-09,dividend_reinvested,buy,ABC,2.5,12,0,-30,",
    )  # fmt: skip
    small.says("joint", *rows)
    small.holds("joint", FRIDAY, ABC="104.5", usd="7000")
    small.run(FRIDAY)
    assert lots(small)[1:] == [("V-1", 2, 25), ("V-3", Decimal("2.5"), 30)]
    assert small.ask("SELECT dividends_usd FROM mart.dividends") == [(55,)]
    assert small.ask("FROM core.breaks") == []


OPTION = ",underlying_id,right,strike_usd"
WRITTEN = "O-1,2026-02-02,option_open,sell,ABC C15,1,0.80,0,80,,ABC,call,15"


def test_a_written_call_is_owed_brings_its_premium_and_is_a_gain_when_it_expires(small):
    small.says("joint", PAID_IN, BOUGHT, WRITTEN, columns=OPTION)
    small.holds("joint", FRIDAY, **{"ABC": "100", "ABC C15": "-1", "usd": "7080"})
    small.run(FRIDAY)
    assert lots(small, "ABC C15") == [("O-1", -1, -80)]
    assert small.ask("FROM core.breaks") == [] and small.ask("FROM mart.set_aside") == []
    small.says(
        "joint", PAID_IN, BOUGHT, WRITTEN, "O-2,2026-03-09,option_expire,buy,ABC C15,1,,,,,ABC,call,15", columns=OPTION
    )
    small.holds("joint", MONDAY, ABC="100", usd="7080")
    small.run(MONDAY)
    assert lots(small, "ABC C15") == []
    assert disposals(small) == [("O-2", "O-1", 1, 80, 0, "short")]
    assert small.ask("FROM core.breaks") == []


def test_an_assigned_call_delivers_the_shares_and_its_premium_is_in_the_proceeds(small):
    assigned = "O-2,2026-03-02,option_assign,sell,ABC C15,1,,0,1500,,ABC,call,15"
    small.says("joint", PAID_IN, BOUGHT, WRITTEN, assigned, columns=OPTION)
    small.holds("joint", FRIDAY, usd="8580")
    small.run(FRIDAY)
    assert disposals(small) == [("O-2", "B-1", 100, 1580, 3000, "short")]
    assert small.ask("FROM core.breaks") == [] and lots(small) == []


def test_shares_that_are_owed_are_negative_and_no_harvest(small):
    rows = ("P-1,2026-02-02,short_open,sell,NEW,10,4,0,40,", PAID_IN)
    small.says("joint", *rows)
    small.holds("joint", FRIDAY, NEW="-10", usd="10040")
    small.run(FRIDAY)
    assert lots(small, "NEW") == [("P-1", -10, -40)]
    assert small.ask("SELECT value_usd, gain_usd FROM mart.positions") == [(-50, -10)]
    assert small.ask("FROM core.breaks") == [] and small.ask("FROM core.proposals") == []


def test_lots_travel_to_another_account_with_basis_and_day(small):
    small.account("other")
    small.says("joint", PAID_IN, BOUGHT, "T-1,2026-02-02,transfer,sell,ABC,40,,,,,other", columns=",to_account_id")
    small.says("other")
    small.holds("joint", FRIDAY, ABC="60", usd="7000")
    small.holds("other", FRIDAY, ABC="40")
    small.run(FRIDAY)
    assert small.ask("SELECT account_id, lot_id, quantity, basis_usd, acquired_on FROM core.lots ORDER BY ALL") == [
        ("joint", "B-1", 60, 1800, date(2026, 1, 5)),
        ("other", "B-1", 40, 1200, date(2026, 1, 5)),
    ]
    assert small.ask("FROM core.breaks") == []


def test_what_companies_do_besides_reaches_the_books(small):
    rows = (
        PAID_IN, BOUGHT, "M-1,2026-02-02,merger,,ABC,,,,,,2:1,NEW,",
        "I-1,2026-02-03,cash_in_lieu,sell,NEW,0.5,5,0,2.50,,,,", "N-1,2026-02-04,spin_off,,NEW,,,,,,1:10,ABC,0.25",
    )  # fmt: skip
    small.says("joint", *rows, columns=",ratio,new_security_id,basis_rate")
    small.holds("joint", FRIDAY, NEW="199.5", ABC="19.95", usd="7002.50")
    small.run(FRIDAY)
    assert lots(small, "NEW") == [("B-1", Decimal("199.5"), Decimal("2244.37"))]
    assert lots(small) == [("B-1", Decimal("19.95"), Decimal("748.13"))]
    assert disposals(small) == [("I-1", "B-1", Decimal("0.5"), Decimal("2.5"), Decimal("7.5"), "short")]
    assert small.ask("FROM core.breaks") == [] and small.ask("FROM mart.set_aside") == []


def test_shares_from_others_have_the_basis_that_the_law_gives_them(small):
    rows = (
        PAID_IN, "G-1,2026-02-02,gift,buy,ABC,10,12,0,,,250,2020-05-04", "H-1,2026-02-03,inheritance,buy,ABC,5,11,0,,,,",
        "A-1,2026-02-04,award,buy,ABC,4,12,0,,,,",
    )  # fmt: skip
    small.says("joint", *rows, columns=",basis_usd,acquired_on")
    small.holds("joint", FRIDAY, ABC="19", usd="10000")
    small.run(FRIDAY)
    assert lots(small) == [("A-1", 4, 48), ("G-1", 10, 250), ("H-1", 5, 55)]
    assert small.ask("SELECT holding_since FROM core.lots WHERE lot_id = 'G-1'") == [(date(2020, 5, 4),)]
    assert small.ask("FROM core.breaks") == []


def test_a_correction_restates_its_row_and_the_cash_follows_both(small):
    small.says("joint", PAID_IN, BOUGHT, "C-1,2026-01-07,correction,,,90,,,300,,B-1", columns=",corrects")
    small.holds("joint", FRIDAY, ABC="90", usd="7300")
    small.run(FRIDAY)
    assert lots(small) == [("B-1", 90, 2700)]
    assert small.ask("SELECT acquired_on FROM core.lots") == [(date(2026, 1, 5),)], "the trade's day stays"
    assert small.ask("FROM core.breaks") == [] and small.ask("FROM mart.set_aside") == []
    small.says("joint", PAID_IN, BOUGHT, "C-1,2026-01-07,correction,,,0,,,3000,,B-1", columns=",corrects")
    small.run(MONDAY)
    assert lots(small) == [] and small.ask("SELECT cash_usd FROM mart.cash") == [(10000,)]


def test_a_row_that_says_its_kind_wrongly_is_set_aside_with_the_readers_own_words(small):
    rows = (PAID_IN, BOUGHT, "X-1,2026-02-02,split,,ABC,,,,,,three", "T-1,2026-02-03,transfer,sell,ABC,1,,,,,")
    small.says("joint", *rows, columns=",ratio")
    small.holds("joint", FRIDAY, ABC="100", usd="7000")
    text = small.run(FRIDAY)
    aside = small.ask("SELECT line, reason FROM mart.set_aside ORDER BY line")
    assert aside == [
        (4, "ratio 'three' is not NEW:OLD, like 3:2 for three new shares for two old ones"),
        (5, "to_account_id '' is not in portfolio.toml: list it"),
    ]
    assert "2 rows set aside" in text and lots(small) == [("B-1", 100, 3000)]


def test_a_ratio_that_is_restated_is_one_more_version(small):
    small.says("joint", PAID_IN, BOUGHT, "X-1,2026-02-02,split,,ABC,,,,,,3:1", columns=",ratio")
    small.holds("joint", FRIDAY, ABC="300", usd="7000")
    small.run(FRIDAY)
    small.says("joint", PAID_IN, BOUGHT, "X-1,2026-02-02,split,,ABC,,,,,,2:1", columns=",ratio")
    small.run(MONDAY)
    assert small.ask("SELECT version, details FROM ledger.transactions WHERE transaction_id = 'X-1' ORDER BY 1") == [
        (1, '{"ratio":"3:1"}'),
        (2, '{"ratio":"2:1"}'),
    ]
    assert lots(small) == [("B-1", 200, 3000)]


def test_the_simulated_broker_knows_what_its_history_says_besides_trades(small):
    rows = (PAID_IN, BOUGHT, "X-1,2026-02-02,split,,ABC,,,,,,3:1,", "Y-1,2026-02-03,symbol_change,,ABC,,,,,,,NEW")
    small.says("joint", *rows, columns=",ratio,new_security_id")
    small.portfolio = small.portfolio.replace('"statements"', '"simulated"').replace(
        'positions = "joint-positions.csv"', ""
    )
    small.run(FRIDAY)
    stated = small.ask("SELECT security_id, quantity FROM stg.positions ORDER BY 1")
    assert stated == [("NEW", 300), ("USD", 7000)]
    assert small.ask("FROM core.breaks") == [] and lots(small, "NEW") == [("B-1", 300, 3000)]


def test_a_reinvestment_that_cannot_be_read_stops_the_harvest_that_it_could_wash(small):
    rows = (
        PAID_IN,
        "B-1,2026-01-05,trade,buy,ABC,200,30,0,-6000,",
        "V-1,2026-03-02,dividend_reinvested,buy,ABC,two,12,0,0,",
    )
    small.says("joint", *rows)
    small.holds("joint", FRIDAY, ABC="200", usd="4000")
    small.run(FRIDAY)
    [(is_refused, reason)] = small.ask("SELECT is_refused, reason FROM core.proposals")
    assert is_refused and "line 4 of joint was set aside" in reason
