"""What a broker can do with lots, what we mean, what the books follow, and where the two differ."""

from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import pytest
from small import Small

from flows.calendar import next_session
from flows.settings import SettingsError
from transforms.law import value_on
from transforms.lots.identify import Sale, deadline, settles_on
from warehouse.law import law_rows

DAY, FILL = date(2022, 10, 14), date(2022, 10, 17)
FRIDAY, MONDAY = date(2026, 3, 6), date(2026, 3, 9)
PICKED = 'relief = "on_order"\nactivities = "taxable-picked.csv"'
HD = "'fill-2022-10-17.taxable-picked.daily.1.1.1'"
D = Decimal


# Deadlines --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("traded_on", "settlement_on"),
    [
        (date(2016, 7, 1), date(2016, 7, 7)),  # three sessions, Independence Day between
        (date(2024, 5, 24), date(2024, 5, 29)),  # the last day of two; 27 May was Memorial Day
        (date(2024, 5, 28), date(2024, 5, 29)),
        (date(2026, 11, 25), date(2026, 11, 27)),  # Thanksgiving
    ],
)
def test_securities_settle_as_the_rule_of_their_day_says(traded_on, settlement_on):
    days = int(value_on(law_rows(), "settlement_days", traded_on))
    assert settles_on(traded_on, days, next_session) == settlement_on
    assert deadline(Sale(False, traded_on, None), settlement_on) == datetime.combine(settlement_on, time(23, 59, 59))


def test_a_digital_asset_is_identified_by_the_moment_of_its_sale_and_by_the_day_before_where_no_time_is_known():
    assert deadline(Sale(True, FRIDAY, time(14, 5)), MONDAY) == datetime(2026, 3, 6, 14, 5)
    assert deadline(Sale(True, FRIDAY, None), MONDAY) == datetime(2026, 3, 6)


# A broker that is connected ---------------------------------------------------------------------------


def after_trade(house, more: str = "") -> None:
    house.edit("portfolio.toml", PICKED, f'relief = "after_trade"\n{more}activities = "taxable-picked.csv"')


def test_a_broker_that_takes_lots_after_the_trade_is_told_them_that_evening_and_the_books_follow(day_before):
    after_trade(day_before)
    day_before.run(DAY)
    assert not [order for order in day_before.orders() if '"side": "sell"' in order and '"lots": "P-' in order]
    told = day_before.ask("SELECT lots, identified_at, how, deadline_at FROM ledger.lot_identifications ORDER BY 1")
    assert [row[0] for row in told] == ["P-0159:25;P-0165:20", "P-0164:40;P-0194:30", "P-0169:250", "P-0181:150"]
    assert {row[1:] for row in told} == {
        (datetime(2022, 10, 17, 22), "after trade", datetime(2022, 10, 18, 0, 30))  # 18:00 and 20:30 in New York
    }
    assert day_before.ask(f"SELECT DISTINCT lot_id FROM core.disposals WHERE trade_id = {HD} ORDER BY 1") == [
        ("P-0164",),
        ("P-0194",),
    ]
    assert day_before.ask("FROM mart.lot_divergence") == [] and day_before.ask("FROM mart.identifications_due") == []
    [line] = day_before.ask(
        "SELECT intended_lots, relieved_lots FROM ledger.batch_lines WHERE side = 'sell' AND security_id = 'HD'"
    )
    assert line == ("P-0164:40;P-0194:30", "P-0010:12.1617;P-0025:10.6332;P-0039:9.4701;P-0164:37.735")


def test_lots_that_the_broker_does_not_take_any_more_are_not_in_the_books_and_the_difference_is_shown(day_before):
    after_trade(day_before, "identify_by = 17:00:00\n")  # the day's run comes at 18:00
    day_before.run(DAY)
    assert day_before.ask("FROM ledger.lot_identifications") == []
    [(meant, relieved, basis, short, long, tax)] = day_before.ask(
        "SELECT intended_lots, relieved_lots, basis_difference_usd, short_difference_usd, long_difference_usd, tax_usd "
        f"FROM mart.lot_divergence WHERE trade_id = {HD}"
    )
    assert meant == "P-0164:40;P-0194:30"
    assert relieved == "P-0010:12.1617;P-0025:10.6332;P-0039:9.4701;P-0164:37.735"
    sold = dict(day_before.ask(f"SELECT term, sum(gain_usd) FROM core.disposals WHERE trade_id = {HD} GROUP BY 1"))
    assert short == sold["short"] - D("-5652.99") and long == sold["long"], "meant: 70 shares at a short-term loss"
    assert basis == -(short + long), "the same proceeds"
    assert tax == (short * D("0.29") + long * D("0.20")).quantize(D("0.01"))
    assert day_before.ask("FROM core.breaks") == [], "the broker has the same number of shares"


def test_a_fifo_broker_whose_harvest_fifo_reaches_sells_just_what_was_meant(finished):
    [line] = finished.ask(
        "SELECT lots, intended_lots, relieved_lots FROM ledger.batch_lines WHERE batch_id LIKE '%fifo%' AND side = 'sell'"
    )
    assert line == ("", "F-0135:200", "F-0135:200")
    assert finished.ask("FROM mart.lot_divergence") == []


def test_the_ira_that_took_a_loss_for_good_is_what_the_brokers_1099_b_does_not_know(finished):
    assert finished.ask(
        "SELECT security_id, broker_disallowed_usd, disallowed_usd, adjustment_code FROM mart.broker_differs"
    ) == [("AMD", 0, D("1359.63"), "W")]


# Accounts known by their statements -------------------------------------------------------------------

PAID_IN = "D-1,2025-01-02,deposit,,,,,,10000,"
BUYS = (
    PAID_IN,
    "B-1,2025-01-06,trade,buy,ABC,10,50,0,-500,",
    "B-2,2025-02-03,trade,buy,ABC,10,90,0,-900,",
    "B-3,2026-01-05,trade,buy,ABC,10,86,0,-860,",
)
SALE = "S-1,2026-03-06,trade,sell,ABC,10,80,0,800,"


def household(home: Path, more: str = "", kind: str = "") -> Small:
    made = Small(home, {"ABC": 80.0}, {"ABC": kind})
    made.account("joint", more=more)
    made.says("joint", *BUYS, SALE)
    made.holds("joint", FRIDAY, ABC="20", usd="8540")
    return made


def sold(house: Small) -> list[tuple]:
    return house.ask("SELECT lot_id, basis_usd, gain_usd, term FROM core.disposals ORDER BY lot_id")


@pytest.mark.parametrize(
    ("method", "lot", "cost"),
    [
        ("lifo", "B-3", D("76.20")),  # 300 long at 20 % instead of -60 short at 27 %
        ("hifo", "B-2", D("80.00")),  # instead of -100 long at 20 %
        ("lowest_tax", "B-2", D("80.00")),  # -10 at 20 % saves more than -6 at 27 %
    ],
)
def test_a_method_that_a_fifo_broker_does_not_follow_is_a_difference_in_lots_gain_and_tax(tmp_path, method, lot, cost):
    house = household(tmp_path / "home", f'relief = "fifo_only"\nmethod = "{method}"')
    house.run(FRIDAY)
    assert sold(house) == [("B-1", 500, 300, "long")], "the books follow the broker"
    [(meant, relieved, tax)] = house.ask("SELECT intended_lots, relieved_lots, tax_usd FROM mart.lot_divergence")
    assert (meant, relieved, tax) == (f"{lot}:10", "B-1:10", cost)


def test_the_lowest_tax_is_by_rate_and_term_not_by_basis(tmp_path):
    house = household(tmp_path / "home", 'method = "lowest_tax"')
    house.says("joint", *BUYS[:3], "B-3,2026-01-05,trade,buy,ABC,10,88,0,-880,", SALE)
    house.run(FRIDAY)  # -8 a share short at 27 % is more than -10 long at 20 %
    assert house.ask("SELECT intended_lots, tax_usd FROM mart.lot_divergence") == [("B-3:10", D("81.60"))]


def test_the_basis_that_a_wash_sale_raised_is_the_one_that_a_method_sees(tmp_path):
    house = household(tmp_path / "home", 'method = "hifo"')
    washed = ("B-0,2025-01-02,trade,buy,ABC,10,100,0,-1000,", "S-0,2025-01-21,trade,sell,ABC,10,55,0,550,B-0:10")
    house.says("joint", *washed, *BUYS, SALE)
    house.run(FRIDAY)
    assert house.ask("SELECT intended_lots FROM mart.lot_divergence") == [], "B-1 cost 50 and carries 45 of loss: 95"
    assert sold(house)[-1] == ("B-1", 950, -150, "long")


def test_lots_to_be_told_tonight_are_listed_with_their_deadline_and_what_telling_them_saves(tmp_path):
    house = household(tmp_path / "home", 'relief = "after_trade"')
    house.run(FRIDAY)
    due = "SELECT trade_id, deadline_at, lots, otherwise, tax_usd FROM mart.identifications_due"
    assert house.ask(due) == [("S-1", datetime(2026, 3, 6, 20, 30), "B-2:10", "B-1:10", D("80.00"))]
    house.holds("joint", MONDAY, ABC="20", usd="8540")
    house.run(MONDAY)
    assert house.ask(due) == [] and sold(house) == [("B-1", 500, 300, "long")]


LATE = ",identified_at"


def test_a_statement_that_names_lots_told_in_time_moves_the_books_to_them(tmp_path):
    house = household(tmp_path / "home", 'relief = "after_trade"')
    house.run(FRIDAY)
    house.says("joint", *BUYS, f"{SALE}B-2:10,2026-03-06T20:29:00", columns=LATE)
    house.holds("joint", MONDAY, ABC="20", usd="8540")
    text = house.run(MONDAY)
    assert sold(house) == [("B-2", 900, -100, "long")] and "sale S-1 changed since the last run" in text
    assert house.ask("SELECT how, is_in_time, is_followed, note FROM core.identifications") == [
        ("after trade", True, True, "")
    ]
    assert house.ask("FROM mart.broker_differs") == []


def test_lots_told_too_late_are_not_followed_and_what_the_broker_reports_of_them_is_put_right(tmp_path):
    house = household(tmp_path / "home", 'relief = "after_trade"')
    house.says("joint", *BUYS, f"{SALE}B-2:10,2026-03-07T01:31:00Z", columns=LATE)  # a minute after 20:30 in New York
    house.run(FRIDAY)
    assert sold(house) == [("B-1", 500, 300, "long")]
    [(followed, note)] = house.ask("SELECT is_followed, note FROM core.identifications")
    assert (
        not followed
        and note == "told at 2026-03-06 20:31:00, the deadline was 2026-03-06 20:30:00: the books do not follow"
    )
    [(code, basis, adjustment, gain, why)] = house.ask(
        "SELECT adjustment_code, basis_usd, adjustment_usd, gain_usd, note FROM core.reported_sales"
    )
    assert (code, basis, adjustment, gain) == ("B", 900, 400, 300)
    assert why.startswith("the broker relieved lot B-2, the lot identified is B-1")


def test_without_a_cut_off_of_the_broker_the_law_takes_lots_until_settlement(tmp_path):
    house = household(tmp_path / "home", 'relief = "on_order"')
    house.says("joint", *BUYS, f"{SALE}B-2:10,2026-03-09T16:00:00", columns=LATE)
    house.run(FRIDAY)
    assert house.ask("SELECT deadline_at, is_followed FROM core.identifications") == [
        (datetime(2026, 3, 9, 23, 59, 59), True)
    ]
    house.says("joint", *BUYS, f"{SALE}B-2:10,2026-03-10T00:00:00", columns=LATE)
    house.run(FRIDAY)
    assert sold(house) == [("B-1", 500, 300, "long")]


def test_a_standing_order_is_followed_from_its_day_on(tmp_path):
    more = 'relief = "on_order"\nstanding = "hifo"\nstanding_since = {}'
    house = household(tmp_path / "home", more.format("2026-03-06"))
    house.run(FRIDAY)
    assert sold(house) == [("B-2", 900, -100, "long")]
    other = household(tmp_path / "other", more.format("2026-03-07"))
    other.run(FRIDAY)
    assert sold(other) == [("B-1", 500, 300, "long")]


def test_average_cost_is_for_funds_and_spreads_what_is_left(tmp_path):
    house = household(tmp_path / "home", 'relief = "average"', "fund")
    house.run(FRIDAY)
    assert sold(house) == [("B-1", D("753.33"), D("46.67"), "long")]
    assert house.ask("SELECT basis_usd FROM core.lots ORDER BY lot_id") == [(D("753.34"),), (D("753.33"),)]
    stock = household(tmp_path / "stock", 'relief = "average"')
    stock.run(FRIDAY)
    assert sold(stock) == [("B-1", 500, 300, "long")], "a stock has no average cost (Treas. Reg. 1.1012-1(e)(1))"


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('relief = "fifo"', "Input should be 'fifo_only', 'on_order', 'after_trade' or 'average'"),
        ('method = "average"', "Input should be 'fifo', 'lifo', 'hifo' or 'lowest_tax'"),
        ('relief = "on_order"\nstanding = "hifo"', "standing and standing_since go together"),
        ('standing = "hifo"\nstanding_since = 2026-01-01', "a broker that is fifo_only follows no standing order"),
    ],
)
def test_what_a_broker_cannot_do_is_refused_when_the_household_is_read(tmp_path, more, why):
    with pytest.raises(SettingsError, match=why):
        household(tmp_path / "home", more).settings()


def test_the_method_that_we_mean_is_the_one_that_costs_the_least_where_the_broker_lets_us_choose(tmp_path):
    for number, (relief, meant) in enumerate(
        [("fifo_only", "fifo"), ("on_order", "lowest_tax"), ("after_trade", "lowest_tax"), ("average", "fifo")]
    ):
        [account] = household(tmp_path / str(number), f'relief = "{relief}"').settings().portfolio.accounts
        assert account.intends == meant


def test_a_harvest_of_a_fund_is_measured_at_its_average_cost(tmp_path):
    house = Small(tmp_path / "home", {"ABC": 80.0}, {"ABC": "fund"})
    house.account("joint", more='relief = "average"')
    house.says(
        "joint", PAID_IN, "B-1,2025-01-06,trade,buy,ABC,10,60,0,-600,", "B-2,2025-02-03,trade,buy,ABC,30,100,0,-3000,"
    )
    house.holds("joint", FRIDAY, ABC="40", usd="6400")
    house.run(FRIDAY)
    [(quantity, basis, loss)] = house.ask("SELECT quantity, basis_usd, long_loss_usd FROM core.proposals")
    assert (quantity, basis, loss) == (40, 3600, 400), "a loss of 10 on every share, the first lot's too"
