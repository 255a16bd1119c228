"""What is held instead of a loss, how far it drifts, and when it pays to go back."""

import os
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from conftest import House
from hypothesis import given
from hypothesis import strategies as st
from skfolio.datasets import load_sp500_dataset
from small import Small

from flows.day import day_of
from flows.fund_pairs import Pair, indexes, pairs_of, shipped
from flows.policy import Replacement
from flows.settings import Portfolio, SettingsError, read_portfolio
from flows.switch_back import switch_back
from transforms.harvest.replacement import loadings, replacements, swap
from transforms.harvest.switch_back import Terms, plans
from transforms.orders.arbiter import Proposed
from warehouse.db import writer

D = Decimal
DATA = Path(os.environ.get("THRESHER_TEST_DATA") or Path(__file__).parents[2] / "shared").absolute() / "data"
with_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real prices in {DATA} (THRESHER_TEST_DATA)")


# Stocks -----------------------------------------------------------------------------------------------


def market_of(count: int, seed: int = 1, sessions: int = 500) -> tuple[np.ndarray, np.random.Generator]:
    draw = np.random.default_rng(seed)
    return draw.normal(0, 0.01, (sessions, count)), draw


def test_the_tracking_error_of_a_swap_is_what_the_two_drift_apart():
    moves, _ = market_of(2)
    returns = {"A": moves[:, 0], "B": 0.5 * moves[:, 0] + moves[:, 1]}
    expected = np.std(returns["B"] - returns["A"], ddof=1) * np.sqrt(252)
    assert swap(returns, "A", "B").tracking_error == pytest.approx(expected, rel=1e-12)
    [[one], [other]] = replacements(returns, {"A": "x", "B": "x"}, 0.1, (0.1, 9)).values()
    assert one.tracking_error == other.tracking_error == pytest.approx(expected, rel=1e-9)


def test_dollar_for_dollar_the_closest_is_not_the_most_correlated():
    """B moves exactly with A, but half as much again; C has noise of its own and drifts less."""
    moves, _ = market_of(2)
    returns = {"A": moves[:, 0], "B": 1.5 * moves[:, 0], "C": moves[:, 0] + 0.3 * moves[:, 1]}
    found = replacements(returns, dict.fromkeys(returns, "x"), 0.5, (0.5, 2))["A"]
    assert [one.security_id for one in found] == ["C", "B"] and found[1].correlation > found[0].correlation


def test_a_stock_is_never_replaced_by_one_of_another_sector():
    moves, _ = market_of(1)
    returns = {"A": moves[:, 0], "B": moves[:, 0] * 1.01}
    assert replacements(returns, {"A": "x", "B": "y"}, 0.5, (0.5, 2)) == {"A": [], "B": []}


def test_two_stocks_whose_sector_nobody_says_do_not_replace_each_other():
    moves, _ = market_of(1)
    returns = dict.fromkeys(("A", "B", "C", "D"), moves[:, 0])
    alike = replacements(returns, {"A": "Energy", "B": "Energy"}, 0.5, (0.6, 1.4))
    assert {name: [one.security_id for one in found] for name, found in alike.items()} == {
        "A": ["B"], "B": ["A"], "C": [], "D": [],
    }  # fmt: skip


def test_what_loads_otherwise_on_its_sector_is_too_far():
    moves, _ = market_of(6)
    market, sector = moves[:, 0], moves[:, 1]
    own = {name: market + load * sector + 0.1 * moves[:, i + 2] for i, (name, load) in enumerate(
        {"A": 1.0, "B": 1.1, "C": 0.1}.items())}  # fmt: skip
    rest = {f"R{n}": market + moves[:, 5] * 0.5 * (-1) ** n for n in range(6)}
    group = dict.fromkeys(own, "x") | dict.fromkeys(rest, "y")
    of = {gap: {one.security_id for one in replacements(own | rest, group, 0.3, (0.3, 3), max_loading_gap=gap)["A"]}
          for gap in (0.5, 9.0)}  # fmt: skip
    assert of == {0.5: {"B"}, 9.0: {"B", "C"}}
    found = loadings(np.array([*own.values()]), np.mean([*own.values(), *rest.values()], axis=0))
    assert abs(found[0, 1] - found[1, 1]) < 0.3 and abs(found[0, 1] - found[2, 1]) > 0.7


def test_two_that_move_as_one_are_not_taken_for_two_companies():
    moves, _ = market_of(3)
    returns = {"GOOG": moves[:, 0], "GOOGL": moves[:, 0] + 0.05 * moves[:, 1], "META": moves[:, 0] + 0.5 * moves[:, 2]}
    limits = Replacement()
    found = replacements(
        returns, dict.fromkeys(returns, "x"), 0.5, (0.6, 1.4), max_correlation=limits.max_correlation
    )  # fmt: skip
    assert [one.security_id for one in found["GOOG"]] == ["META"]


@with_data
def test_what_moves_closer_than_the_limit_are_share_classes_and_never_two_companies():
    """Why max_correlation is where it is: 2021-09 to 2025-10, two spans of 504 sessions. News Corp's drift further apart."""
    wide = (
        pl.scan_parquet(DATA / "us_stocks_daily_2000_2025.parquet")
        .filter(pl.col("date") >= date(2021, 9, 1))
        .select("ticker", "date", "adj_close").collect().pivot(on="ticker", index="date", values="adj_close").sort("date")
    )  # fmt: skip
    names = [name for name in wide.columns[1:] if not wide[name].null_count() and name != "PSKY"]  # PARA, renamed
    closes = wide.select(names).to_numpy()
    moves, limit = closes[1:] / closes[:-1] - 1, Replacement().max_correlation
    always, classes = {("GOOG", "GOOGL"), ("FOX", "FOXA")}, {("GOOG", "GOOGL"), ("FOX", "FOXA"), ("NWS", "NWSA")}
    for part in (moves[:504], moves[-504:]):
        together = np.corrcoef(part.T)
        close = {(names[i], names[j]) for i, j in np.argwhere(np.triu(together > limit, 1))}
        assert always <= close <= classes


# Funds ------------------------------------------------------------------------------------------------


def test_no_pair_of_the_table_follows_one_index():
    assert len(shipped()) >= 40
    for pair in shipped():
        assert pair.fund_index.casefold() != pair.replacement_index.casefold() and pair.fund != pair.replacement


def test_a_fund_follows_the_same_index_wherever_the_table_names_it():
    said = {(p.fund, p.fund_index, p.fund_source) for p in shipped()} | {
        (p.replacement, p.replacement_index, p.replacement_source) for p in shipped()
    }
    assert len(said) == len(indexes())
    assert all(source.startswith(("http://", "https://")) for _, _, source in said)


def test_the_three_funds_of_the_s_and_p_500_stand_in_for_none_of_each_other():
    listed = pairs_of({}, {})
    three = {"SPY", "VOO", "IVV"}
    assert three <= listed.keys()
    assert all(not three & set(others) for fund, others in listed.items() if fund in three)


def household(**given: object) -> Portfolio:
    account = {
        "id": "joint",
        "name": "Joint",
        "type": "taxable",
        "owner": "joint",
        "broker": "simulated",
        "activities": "x",
    }
    said = {"name": "H", "filing_status": "mfj", "taxable_income_usd": 1, "linked": True}
    return Portfolio.model_validate(
        {"household": said, "prices": {"source": "skfolio"}, "accounts": [account], **given}
    )


def test_the_table_keeps_a_harvest_clear_of_every_fund_on_its_index_and_the_household_has_the_last_word():
    """A purchase of VOO would wash a loss in SPY if funds on one index were identical; BND follows what the household says."""
    groups = household().cautious_groups
    assert groups["SPY"] == groups["VOO"] == groups["IVV"] != groups["SCHX"] and household().groups == {}
    own = household(same_index={"BND": indexes()["AGG"], "SPY": "another"}).cautious_groups
    assert own["BND"] == own["AGG"] and own["SPY"] != own["VOO"]
    assert household(law_policy={"same_index_washes": "true"}).groups == groups


def test_a_table_with_two_funds_on_one_index_is_refused(tmp_path):
    file = tmp_path / "pairs.csv"
    file.write_text(",".join(Pair._fields) + "\nSPY,S&P 500,VOO,S&P 500,http://a,http://b\n")
    with pytest.raises(ValueError, match=r"pairs\.csv:2: SPY and VOO follow one index"):
        shipped(file)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ('[replacement.pairs]\nSPY = ["VOO"]', "SPY and VOO"),
        ('[same_index]\nAAA = "one"\nBBB = "one"\n[replacement.pairs]\nAAA = ["BBB"]', "AAA and BBB"),
        ('[identical]\nAAA = "x"\nBBB = "x"\n[replacement.pairs]\nAAA = ["BBB"]', "AAA and BBB"),
    ],
)
def test_a_household_that_pairs_funds_on_one_index_is_told(house, policy, said):
    file = house.folder / "portfolio.toml"
    text = file.read_text()
    start = text.index("[replacement]")
    end = text.index("\n[", start)
    file.write_text(f"{text[:start]}{policy}\n{text[end:]}")
    with pytest.raises(SettingsError, match=said):
        read_portfolio(file)


def test_a_fund_is_replaced_by_what_the_table_names_and_by_nothing_else():
    moves, _ = market_of(3)
    returns = {
        "SPY": moves[:, 0], "VOO": moves[:, 0] + 1e-5 * moves[:, 1], "SCHX": moves[:, 0] + 0.1 * moves[:, 2],
        "AAPL": moves[:, 0] + 0.2 * moves[:, 1], "MSFT": moves[:, 0] + 0.2 * moves[:, 2],
    }  # fmt: skip
    found = replacements(returns, dict.fromkeys(returns, "US stocks"), 0.5, (0.6, 1.4), pairs=pairs_of({}, {}))
    names = {name: [one.security_id for one in others] for name, others in found.items()}
    assert names == {"SPY": ["SCHX"], "VOO": ["SCHX"], "SCHX": [], "AAPL": ["MSFT"], "MSFT": ["AAPL"]}


@with_data
def test_every_pair_that_prices_are_here_for_keeps_the_default_limits():
    wide = (
        pl.read_parquet(DATA / "etfs_daily_2016_2021.parquet")
        .pivot(on="ticker", index="date", values="adj_close").sort("date").tail(505)
    )  # fmt: skip
    closes = {name: wide[name].to_numpy() for name in wide.columns[1:] if not wide[name].null_count()}
    returns = {name: prices[1:] / prices[:-1] - 1 for name, prices in closes.items()}
    here = [pair for pair in shipped() if {pair.fund, pair.replacement} <= returns.keys()]
    assert len(here) >= 40
    for pair in here:
        found = swap(returns, pair.fund, pair.replacement)
        assert found.correlation > 0.97 and 0.9 < found.beta < 1.1 and found.tracking_error < 0.06, (pair, found)


def test_a_fund_that_no_pair_names_is_not_replaced_by_its_neighbour(tmp_path):
    kinds = {"AAA": "fund", "BBB": "fund"}
    small = Small(tmp_path, {"AAA": 80.0, "BBB": 80.0}, kinds)
    small.account("joint")
    small.says("joint", "J-0,2024-01-02,deposit,,,,,,10000,", "J-1,2024-01-03,trade,buy,AAA,100,100,0,-10000,")
    small.holds("joint", date(2024, 6, 3), AAA="100", usd="0")
    small.run(date(2024, 6, 3))
    [(security, reason)] = small.ask("SELECT security_id, reason FROM core.proposals")
    assert security == "AAA" and "no pair of funds is listed" in reason


def test_a_proposal_says_how_far_its_replacement_drifts(finished, closes):
    proposed = finished.ask(
        "SELECT security_id, replacement_id, tracking_error FROM mart.harvest_candidates WHERE NOT is_refused"
    )
    assert len(proposed) == 5
    wide = closes.filter(pl.col("date") <= date(2022, 10, 14)).pivot(on="ticker", index="date", values="adj_close")
    for sold, bought, error in proposed:
        pair = wide.sort("date").tail(505).select(sold, bought).to_numpy()
        moves = pair[1:] / pair[:-1] - 1
        assert error == pytest.approx(np.std(moves[:, 1] - moves[:, 0], ddof=1) * np.sqrt(252), abs=1e-6)


# Going back: what it costs ----------------------------------------------------------------------------


def terms(*, is_taxed: bool = True, rate: float = 0.05) -> Terms:
    return Terms(D(50), 3.0, rate, 10.0, is_taxed, D("0.0005"))


def test_the_plans_are_what_a_person_reckons():
    """$20,000 of $100,000 drift by 30 % a year: 3 / 2 x 0.2 x 0.09 x 20,000 = $540 a year; spread twice 0.05 % = $20."""
    found = plans(D(20000), D(100000), 0.3, D(580), D(0), D(400), 0.5, terms(rate=0.0))
    assert found == (D("600.00"), D("690.00"), D("5800.00"), D("540.00"))
    assert found.benefit == 90
    heirs = plans(D(20000), D(100000), 0.3, D(580), D(0), D(400), 0.5, terms(is_taxed=False, rate=0.0))
    assert heirs.keep == D("5400.00")


def test_a_small_position_may_drift_long_before_that_is_worth_a_tax():
    found = plans(D(2000), D(1000000), 0.3, D(58), D(0), D(40), 0.5, terms())
    assert found.drift_a_year == D("0.54") and found.benefit < 0


def test_a_household_that_owes_more_than_it_has_is_weighed_too():
    alone = plans(D(20000), D(20000), 0.3, D(0), D(0), D(0), None, terms())
    assert plans(D(20000), D(-5000), 0.3, D(0), D(0), D(0), None, terms()) == alone
    assert plans(D(0), D(0), 0.3, D(0), D(0), D(0), None, terms()).benefit == 0


@given(st.integers(0, 5000), st.integers(1, 5000), st.floats(0, 0.6), st.floats(0.01, 1))
def test_more_tax_now_never_makes_going_back_better(tax, more, error, years):
    some, other = (plans(D(10000), D(100000), error, D(now), D(0), D(tax), years, terms()) for now in (tax, tax + more))
    assert other.benefit == some.benefit - more


@given(st.floats(0, 0.5), st.floats(0.01, 0.4))
def test_the_further_it_drifts_the_more_it_pays_to_go_back(error, more):
    near, far = (plans(D(10000), D(100000), e, D(300), D(0), D(200), 0.4, terms()) for e in (error, error + more))
    assert far.benefit > near.benefit


# Going back: the household ----------------------------------------------------------------------------

FILLED, OPEN_UNTIL, AFTER = date(2022, 10, 17), date(2022, 11, 15), date(2022, 11, 16)
Weigh = Callable[..., tuple[list[Proposed], dict[tuple[str, str], dict]]]


@pytest.fixture(scope="module")
def harvested(_done: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The demo household with the harvests of 2022-10-17 booked. To be copied."""
    house = _done.copy(tmp_path_factory.mktemp("harvested") / "home")
    house.run(FILLED)
    return house


@pytest.fixture
def weigh(harvested: House, tmp_path: Path) -> Weigh:
    """Weighs on a later day, at prices that a statement may change; by account and what is held."""
    house = harvested.copy(tmp_path / "home")

    def weighed(
        on: date = AFTER,
        change: str = "",
        policy: str = "[replacement.switch_back]\nmin_benefit_usd = 1",
        gates: str = "",
    ) -> tuple[list[Proposed], dict[tuple[str, str], dict]]:
        file = house.folder / "portfolio.toml"
        text = file.read_text()
        file.write_text(text.replace("[gates]\n", f"[gates]\n{gates}\n") + f"\n{policy}\n")
        with writer(house.folder / "warehouse.duckdb") as warehouse:
            if change:
                warehouse.run(change)
            made = list(switch_back(warehouse, day_of(house.settings(), on, datetime(2022, 12, 1))))
            rows = warehouse.rows("FROM core.switch_backs").to_dicts()
        file.write_text(text)
        return made, {(row["account_id"], row["security_id"]): row for row in rows}

    return weighed


def test_nothing_goes_back_unless_the_policy_asks(weigh):
    assert weigh(policy="") == ([], {})


def test_nothing_goes_back_up_to_day_30(weigh):
    made, rows = weigh(OPEN_UNTIL)  # decided for 2022-11-16, the 30th day after 2022-10-17
    assert made == [] and len(rows) == 5
    assert all("its window is open until 2022-11-16" in row["reason"] for row in rows.values())
    assert weigh(AFTER)[0], "on the 31st day it may"


def test_at_no_gain_it_goes_back_where_the_drift_costs_more_than_the_spread(weigh):
    made, rows = weigh()
    row = rows["taxable-picked", "BBY"]
    assert row["is_proposed"] and row["back_to_id"] == "HD"
    sale, purchase = (trade for trade in made if "BBY" in trade.proposal)
    assert (sale.side, sale.security_id, sale.quantity) == ("sell", "BBY", row["quantity"])
    assert (purchase.side, purchase.security_id) == ("buy", "HD")
    assert purchase.quantity * purchase.price_usd <= row["value_usd"] and "tracking error 30.6%" in sale.reason
    assert {trade.method for trade in made} == {"switch_back"}


def test_a_gain_is_kept_where_the_tax_is_more_than_the_drift(weigh):
    """The year has losses left over: a gain costs no tax, it uses up losses that would save 29 % on $3,000 in each later year."""
    made, rows = weigh(change="UPDATE core.latest_prices SET price_usd = price_usd * 1.1")
    row = rows["taxable-picked", "AAPL"]
    assert not row["is_proposed"] and row["reason"].startswith("kept")
    assert row["tax_now_usd"] == 0
    used_up = row["now_usd"] - round(row["value_usd"] / 1000, 2)
    least, most = (row["gain_usd"] * D("0.29") * each for each in (D("0.75"), 1 / D("1.05")))
    assert least < used_up < most, "in one of the next five years, not at the long-term rate"
    assert not any("AAPL" in trade.proposal for trade in made)


def test_at_the_closes_of_the_31st_day_one_of_five_pays_to_go_back(weigh):
    """BBY drifts 31 % a year from HD: more than its gain would cost. What drifts 12 % to 20 % a year is kept."""
    closes = load_sp500_dataset().loc[str(AFTER)]
    prices = ", ".join(f"('{name}', {usd})" for name, usd in closes.items())
    made, rows = weigh(
        change=f"UPDATE core.latest_prices SET price_usd = p.usd::DECIMAL(18, 6) FROM (VALUES {prices}) AS p (name, usd) "
        "WHERE security_id = p.name"
    )
    assert {key: row["gain_usd"] for key, row in rows.items() if row["is_proposed"]} == {
        ("taxable-picked", "BBY"): D("1036.61")
    }
    assert [(trade.side, trade.security_id) for trade in made] == [("sell", "BBY"), ("buy", "HD")]
    kept = {name: row for (account, name), row in rows.items() if account == "taxable-picked" and name != "BBY"}
    assert kept.keys() == {"AAPL", "JPM", "PG"}
    assert all(row["keep_usd"] < row["now_usd"] and row["tax_now_usd"] == 0 for row in kept.values())


def test_in_a_year_of_gains_the_tax_is_the_short_term_rate_and_it_waits(weigh):
    """A short-term gain of $60,000 takes up the year's losses: what goes back is taxed at 29 % now, 20 % in a year."""
    _, rows = weigh(
        change="UPDATE core.latest_prices SET price_usd = price_usd * 1.1; "
        "UPDATE core.disposals SET gain_usd = 60000 WHERE trade_id = (SELECT min(trade_id) FROM core.disposals "
        "WHERE term = 'short' AND year(sold_on) = 2022)"
    )
    row = rows["taxable-picked", "PG"]
    assert not row["is_proposed"]
    assert row["tax_now_usd"] == pytest.approx(row["gain_usd"] * D("0.29"), abs=D("0.01"))
    assert row["later_usd"] < row["now_usd"] and "when its gain is long-term" in row["reason"]


def test_a_broker_that_would_sell_older_lots_does_not_go_back(weigh):
    """taxable-fifo holds older shares of JPM, which its broker sells first."""
    made, rows = weigh()
    row = rows["taxable-fifo", "JPM"]
    assert not row["is_proposed"] and "first in, first out and would take lot" in row["reason"]
    assert not any(trade.account_id == "taxable-fifo" for trade in made)


def test_what_a_later_loss_bars_is_not_bought_back(weigh):
    """HD was sold at a loss once more in another account, 16 days before."""
    moved = (
        "UPDATE core.disposals SET sold_on = DATE '2022-11-01' WHERE security_id = 'HD' AND sold_on = DATE '2022-10-17'"
    )
    made, rows = weigh(change=moved)
    row = rows["taxable-picked", "BBY"]
    assert not row["is_proposed"] and "up to 2022-12-01" in row["reason"]
    assert not any("BBY" in trade.proposal for trade in made)


def test_what_is_not_to_be_traded_is_not_bought_back(weigh):
    made, rows = weigh(gates='do_not_trade = ["HD"]')
    assert "HD is on the list do_not_trade" in rows["taxable-picked", "BBY"]["reason"]
    assert made and not any("BBY" in trade.proposal for trade in made)
