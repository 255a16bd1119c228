"""The tax-alpha ledger: every harvest followed to today, beside a twin that held on to the lots that were sold."""

import math
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from conftest import _without_report
from hypothesis import given, settings
from hypothesis import strategies as st
from small import Small

from flows.daily import daily, day_of
from flows.taxes import taxes
from transforms.harvest.alpha import Bought, Closes, Ended, Harvest, Sold, tax_alpha
from transforms.harvest.benefit import Rates
from warehouse.build import definition, sql_folder
from warehouse.db import writer

D = Decimal
RATES = Rates(D("0.29"), D("0.20"), D("0.29"), D(3000))
SOLD_ON, TODAY = date(2026, 3, 9), date(2026, 4, 30)
NAMES = list(definition(sql_folder() / "core" / "tax_alpha.sql").columns)


def closes(start: str, end: str) -> Closes:
    return Closes([SOLD_ON, TODAY], [D(start), D(end)], [D(start), D(end)])


def ledger(harvest: Harvest, prices: dict[str, Closes], as_of: date = TODAY) -> dict:
    [row] = tax_alpha([harvest], prices.__getitem__, lambda year: RATES, as_of)
    return dict(zip(NAMES, row, strict=True))


def sold(**more: object) -> Sold:
    """100 shares bought for 20,000 and sold for 14,000 less a dollar: a short-term loss."""
    usual = Sold(SOLD_ON, "short", D(100), D(13999), D(20000), D(0), D(0), D(-6001))
    return usual._replace(**more)


def bought(**more: object) -> Bought:
    """50 shares at 280, and a dollar of commission; all of them are held."""
    usual = Bought("ABC", SOLD_ON, D(50), D(14001), D(1), (), D(14001), D(499), D(0))
    return usual._replace(**more)


def harvest(**more: object) -> Harvest:
    """Against a short-term gain: it saved 29 % of 6,001."""
    usual = Harvest("S", "joint", "XYZ", (sold(),), D(1), (bought(),), D("1740.29"), D(0))
    return usual._replace(**more)


# By hand ----------------------------------------------------------------------------------------------


def test_a_harvest_against_a_short_term_gain_by_hand():
    """XYZ rises from 140 to 147, ABC from 280 to 290.

    Saved 1,740.29, owed back 20 % of 6,001: 1,200.20; the difference of rates stays. We gained 500, the twin 700; two
    dollars went. Ours: 14,500 - 2 left of the cash + 1,740.29 - 20 % of (14,500 - 14,001). Twin's: 14,700 + 20 % of 5,300.
    """
    row = ledger(harvest(), {"XYZ": closes("140", "147"), "ABC": closes("280", "290")})
    said = {name: row[name] for name in ("saved_usd", "given_back_usd", "deferred_usd", "permanent_usd", "lost_usd")}
    assert said == {
        "saved_usd": D("1740.29"),
        "given_back_usd": 0,
        "deferred_usd": D("1200.20"),
        "permanent_usd": D("540.09"),
        "lost_usd": 0,
    }
    assert (row["commission_usd"], row["slippage_usd"], row["tracking_usd"]) == (2, 0, -200)
    assert row["ours_usd"] == D("16138.49") == 14500 - 2 + D("1740.29") - D("99.80")
    assert row["twin_usd"] == 15760 == 14700 + D("0.2") * 5300
    assert row["alpha_usd"] == D("378.49"), "540.09 that stays, less 202 after tax at 20 %"


def test_what_switching_back_would_realise_is_the_replacements_own_gain_by_term():
    row = ledger(harvest(), {"XYZ": closes("140", "147"), "ABC": closes("280", "290")})
    assert (row["switch_back_short_gain_usd"], row["switch_back_long_gain_usd"]) == (499, 0)
    assert row["switch_back_tax_usd"] == D("144.71")
    nobody_knows = bought(short_gain_usd=None, long_gain_usd=None)
    unpriced = ledger(harvest(bought=(nobody_knows,)), {"XYZ": closes("1", "1"), "ABC": closes("1", "1")})
    assert unpriced["switch_back_tax_usd"] is None


def test_what_fills_were_worse_than_the_close_is_cost():
    """Sold at 140 with a close of 141, bought at 280 with a close of 279: 100 and 50 dollars."""
    row = ledger(harvest(), {"XYZ": closes("141", "141"), "ABC": closes("279", "279")})
    assert (row["slippage_usd"], row["tracking_usd"]) == (150, 0)
    assert row["alpha_usd"] == D("418.49") == D("540.09") - D("0.8") * 152


def test_a_part_of_the_replacement_that_was_sold_has_given_its_tax_back_at_the_rate_it_was_sold_at():
    """A third of the basis was sold short-term in April; both sides of that third end there."""
    april = date(2026, 4, 1)
    part = bought(ended=(Ended(april, "short", D(4667)),), open_basis_usd=D(9334))
    series = {
        "XYZ": Closes([SOLD_ON, april, TODAY], [D(140), D(150), D(100)], [D(140), D(150), D(100)]),
        "ABC": Closes([SOLD_ON, april, TODAY], [D(280), D(300), D(300)], [D(280), D(300), D(300)]),
    }
    row = ledger(harvest(bought=(part,)), series)
    assert row["given_back_usd"] == D("580.10"), "29 % of a third of 6,001"
    assert row["deferred_usd"] == D("800.13"), "20 % of two thirds"
    assert row["permanent_usd"] == D("360.06")
    assert row["tracking_usd"] == 1000 - (1000 / D(3) - 8000 / D(3)).quantize(D("0.01")), (
        "a third of +1,000, two of -4,000"
    )


def test_a_replacement_that_left_without_a_sale_gives_nothing_back():
    row = ledger(
        harvest(bought=(bought(open_basis_usd=D(0)),)), {"XYZ": closes("140", "140"), "ABC": closes("280", "280")}
    )
    assert (row["given_back_usd"], row["deferred_usd"], row["permanent_usd"]) == (0, 0, D("1740.29"))
    assert row["alpha_usd"] == D("1738.29"), "its basis was stepped up, and the twin's too"


def test_a_loss_that_was_washed_for_good_is_a_cost_of_the_harvest():
    washed = sold(adjustment_usd=D(1000), permanent_usd=D(1000), gain_usd=D(-5001))
    row = ledger(
        harvest(sold=(washed,), saved_usd=D("1450.29")), {"XYZ": closes("140", "140"), "ABC": closes("280", "280")}
    )
    assert (row["short_loss_usd"], row["lost_usd"], row["deferred_usd"]) == (5001, 290, D("1000.20"))
    assert row["permanent_usd"] == D("160.09")
    moved = ledger(
        harvest(sold=(washed._replace(permanent_usd=D(0)),), saved_usd=D("1450.29")),
        {"XYZ": closes("140", "140"), "ABC": closes("280", "280")},
    )
    assert moved["ours_usd"] - row["ours_usd"] == 200, "what went into another basis is still there"


def test_where_nothing_was_bought_the_twin_is_measured_against_cash():
    row = ledger(harvest(bought=()), {"XYZ": closes("140", "154")})
    assert row["replacement_id"] == "" and row["tracking_usd"] == -1400
    assert (row["deferred_usd"], row["permanent_usd"]) == (0, D("1740.29"))


def test_a_price_that_is_missing_leaves_the_market_figures_empty_and_the_tax_in_place():
    row = ledger(harvest(), {"XYZ": closes("140", "147"), "ABC": Closes([], [], [])})
    assert [row[name] for name in ("slippage_usd", "tracking_usd", "ours_usd", "twin_usd", "alpha_usd")] == [None] * 5
    assert row["permanent_usd"] == D("540.09")


def test_before_the_day_of_the_fill_is_priced_nothing_has_moved():
    row = ledger(harvest(), {"XYZ": Closes([], [], []), "ABC": Closes([], [], [])}, as_of=SOLD_ON - timedelta(days=3))
    assert (row["slippage_usd"], row["tracking_usd"], row["alpha_usd"]) == (0, 0, D("538.49"))


def test_adjusted_closes_carry_both_sides_over_splits_and_dividends():
    split = Closes([SOLD_ON, TODAY], [D(280), D(145)], [D(140), D(145)])
    row = ledger(harvest(), {"XYZ": closes("140", "147"), "ABC": split})
    assert row["tracking_usd"] == -200


def test_the_tracking_error_is_that_of_the_daily_differences():
    days = [SOLD_ON + timedelta(days=n) for n in range(42)]
    flat = Closes(days, [D(140)] * 42, [D(140)] * 42)
    wave = [D(280) * (1 + D(n % 2) / 100) for n in range(42)]
    row = ledger(harvest(), {"XYZ": flat, "ABC": Closes(days, wave, wave)}, as_of=days[-1])
    moves = [0.01 if n % 2 == 0 else 1 / 1.01 - 1 for n in range(41)]
    mean = sum(moves) / 41
    assert row["tracking_error"] == pytest.approx(math.sqrt(sum((m - mean) ** 2 for m in moves) / 40 * 252))
    assert ledger(harvest(), {"XYZ": closes("140", "147"), "ABC": closes("280", "290")})["tracking_error"] is None


price = st.integers(5_000, 60_000).map(lambda cents: D(cents) / 100)


@settings(max_examples=100, deadline=None)
@given(
    price,
    price,
    price,
    price,
    st.integers(100_000, 3_000_000).map(lambda cents: D(cents) / 100),
    st.integers(0, 3000).map(D),
)
def test_alpha_is_tracking_less_cost_after_tax_and_what_stays(xyz, xyz_now, abc, abc_now, basis, unused):
    loss = basis - D(13999)
    one = harvest(sold=(sold(basis_usd=basis, gain_usd=-loss),), unused_usd=unused if loss > 0 else D(0))
    row = ledger(one, {"XYZ": closes(str(xyz), str(xyz_now)), "ABC": closes(str(abc), str(abc_now))})
    stays = row["permanent_usd"] if loss > 0 else one.saved_usd - D("0.2") * loss
    expected = D("0.8") * (row["tracking_usd"] - row["commission_usd"] - row["slippage_usd"]) + stays
    assert abs(row["alpha_usd"] - expected) <= D("0.04")
    assert row["ours_usd"] - row["twin_usd"] == row["alpha_usd"]


# On the demo household --------------------------------------------------------------------------------


def test_the_demo_households_harvests_stand_in_the_ledger_with_their_hand_computed_figures(finished):
    """HD: 70 shares sold at 275.58, a loss of 5,652.99; the year saved 618.19 of tax with it and carries 3,174.25 on."""
    [row] = finished.ask("SELECT * FROM core.tax_alpha WHERE security_id = 'HD'")
    row = dict(zip(NAMES, row, strict=True))
    assert (row["replacement_id"], row["sold_on"], row["short_loss_usd"]) == ("BBY", date(2022, 10, 17), D("5652.99"))
    assert (row["saved_usd"], row["carried_usd"]) == (D("618.19"), D("634.85"))
    assert (row["deferred_usd"], row["permanent_usd"]) == (D("1130.60"), D("122.44"))
    assert (row["tracking_usd"], row["alpha_usd"]) == (0, D("122.44")), "the day of the fill is not over yet"
    [total] = finished.ask(
        "SELECT harvests, saved_usd, permanent_usd FROM mart.tax_alpha WHERE year = 2022 AND month = 0"
    )
    [by_month] = finished.ask(
        "SELECT harvests, saved_usd, permanent_usd FROM mart.tax_alpha WHERE year = 2022 AND month = 10"
    )
    assert total == by_month and total[0] == 5
    assert total[1] == finished.ask("SELECT sum(tax_deferred_usd) FROM core.harvests")[0][0]


# Over several months ----------------------------------------------------------------------------------

MAY = date(2026, 5, 29)
STEPS = {  # from which day on a share is worth what
    "XYZ": {date(2025, 12, 1): 140, date(2026, 5, 20): 147},
    "ABC": {date(2025, 12, 1): 280, date(2026, 5, 20): 290},
    "QRS": {date(2025, 12, 1): 80, date(2026, 5, 1): 84, date(2026, 5, 20): 90},
    "TUV": {date(2025, 12, 1): 100, date(2026, 5, 1): 107.5, date(2026, 5, 20): 110},
    "WIN": {date(2025, 12, 1): 200},
}
ROWS = (
    "D,2025-06-02,deposit,,,0,0,0,100000,",
    "X,2025-08-04,trade,buy,XYZ,100,200,0,-20000,",
    "Q,2025-08-04,trade,buy,QRS,100,100,0,-10000,",
    "W,2025-08-04,trade,buy,WIN,100,100,0,-10000,",
    "WS,2026-02-02,trade,sell,WIN,100,200,0,20000,",
    "XS,2026-01-12,trade,sell,XYZ,100,140,0,14000,",
    "XB,2026-01-12,trade,buy,ABC,50,280,0,-14000,",
    "QS,2026-03-09,trade,sell,QRS,100,80,0,8000,",
    "QB,2026-03-09,trade,buy,TUV,80,100,0,-8000,",
    "TS,2026-05-04,trade,sell,TUV,40,107.5,0,4300,",
)


class Months(Small):
    """A household whose statements tell of two harvests, and whose ledger knows that they were decided here."""

    def write_prices(self) -> None:
        days = [day for n in range(180) if (day := date(2025, 12, 1) + timedelta(days=n)).weekday() < 5]
        rows = [
            (name, day, float(usd), float(usd), 1000)
            for name, steps in STEPS.items()
            for day in days
            for usd in [steps[max(start for start in steps if start <= day)]]
        ]
        schema = {
            "ticker": pl.String,
            "date": pl.Date,
            "close": pl.Float64,
            "adj_close": pl.Float64,
            "volume": pl.Int64,
        }
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(self.home / "prices" / "us_x_daily_y.parquet")

    def decided(self, on: date, sale: str, purchase: str, sold: tuple, bought: tuple) -> list[tuple[str, tuple]]:
        """The rows of the ledger that a decision and its fills leave."""
        at, batch, zero = datetime(on.year, on.month, on.day, 21), f"{on}.joint.daily.1", D(0)
        rows: list[tuple[str, tuple]] = [
            ("batches", (batch, "joint", on, at, on, "daily", 1, "", "auto", "", "", at)),
        ]
        for line, side, (security, quantity, usd), fill in ((1, "sell", sold, sale), (2, "buy", bought, purchase)):
            name = f"{batch}.{line}.1"
            rows += [
                ("batch_lines", (batch, line, 1, "harvest", side, security, quantity, usd, "", zero, zero, "", "", "")),
                ("intents", (name, batch, line, 1, quantity, None, None, "", at)),
                ("order_events", (name, "fill", fill, quantity, "", at)),
                ("order_events", (name, "filled", "", quantity, "", at)),
            ]
        return rows


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Months:
    house = Months(tmp_path_factory.mktemp("months") / "home", dict.fromkeys(STEPS, 1.0))
    house.account("joint")
    house.says("joint", *ROWS)
    house.holds("joint", MAY, ABC="50", TUV="40", usd="76300")
    house.write_prices()
    found = daily(house.settings(), MAY, step=_without_report)
    assert found.as_of == MAY
    rows = house.decided(date(2026, 1, 12), "XS", "XB", ("XYZ", D(100), D(140)), ("ABC", D(50), D(280)))
    rows += house.decided(date(2026, 3, 9), "QS", "QB", ("QRS", D(100), D(80)), ("TUV", D(80), D(100)))
    with writer(house.home / "warehouse.duckdb") as warehouse:
        for table, row in rows:
            warehouse.add(f"ledger.{table}", row)
        day = day_of(house.settings(), MAY, datetime(2026, 5, 30))
        taxes(warehouse, day)
        warehouse.publish(house.home / "snapshot.duckdb", MAY, day.run_id, day.known_at)
    house.folder = house.home
    return house


def test_two_harvests_of_two_months_by_hand(months):
    """At 27 % and 20 %. Of 10,000 gained in February 8,000 met harvests: 2,160 saved, 6,000 and 2,000 parts of it.

    Half of TUV was sold in May at 107.5, when QRS stood at 84; the rest is worth 110 where QRS is worth 90.
    Ours: 4,300 - 81 + 4,400 - 80 + 540. The twin's: 4,200 + 160 + 4,500 + 100.
    """
    rows = months.ask(
        "SELECT security_id, saved_usd, given_back_usd, deferred_usd, permanent_usd, tracking_usd, alpha_usd "
        "FROM core.tax_alpha ORDER BY sold_on"
    )
    assert rows == [
        ("XYZ", 1620, 0, 1200, 420, -200, 260),
        ("QRS", 540, 270, 200, 70, 0, 119),
    ]


def test_the_ledger_adds_up_by_month_and_year(months):
    rows = months.ask(
        "SELECT year, month, harvests, loss_usd, saved_usd, given_back_usd, deferred_usd, alpha_usd FROM mart.tax_alpha"
    )
    assert rows == [
        (2026, 0, 2, 8000, 2160, 270, 1400, 379),
        (2026, 1, 1, 6000, 1620, 0, 1200, 260),
        (2026, 3, 1, 2000, 540, 270, 200, 119),
    ]
    [(brought,)] = months.ask("SELECT sum(alpha_usd) FROM mart.harvest_alpha")
    assert brought == 379


def test_switching_back_would_realise_the_gain_of_what_is_still_held(months):
    rows = months.ask(
        "SELECT security_id, switch_back_short_gain_usd, switch_back_tax_usd FROM core.tax_alpha ORDER BY sold_on"
    )
    assert rows == [("XYZ", 500, 135), ("QRS", 400, 108)]
