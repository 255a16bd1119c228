"""Asset location as trades: moves with the pre-trade check, and a household in the warehouse."""

from datetime import date, datetime
from decimal import Decimal

import pytest
from small import Small
from test_location import HOUSEHOLD, LATER, costs_of

from flows.day import day_of
from flows.locate import location
from flows.settings import SettingsError
from transforms.exact import NANO
from transforms.harvest.benefit import Rates
from transforms.law import tax_year
from transforms.lots.check import Limits, Year, effects
from transforms.lots.in_part import OpenShares, Young, beyond_in_part
from transforms.lots.rules import Rules
from transforms.lots.term import term
from transforms.model import Trade
from transforms.portfolio.foreign_tax import break_even
from transforms.portfolio.location import Block, cost, relocate
from transforms.portfolio.move_trades import Holding, Place, Terms
from transforms.portfolio.moves import House, Planned, plan
from transforms.portfolio.tax_cost import ASSUMED, tax_cost, taxes
from warehouse.build import sql_folder
from warehouse.db import writer
from warehouse.law import law_rows

D = Decimal


# The moves, with the pre-trade check ------------------------------------------------------------------

FRIDAY, MONDAY, OLD = date(2026, 3, 6), date(2026, 3, 9), date(2025, 6, 2)
PRICES = {"AGG": D(50), "BND": D(50), "VTI": D(100)}
CLASS = {"AGG": "Bonds", "BND": "Bonds", "VTI": "US stocks"}
KINDS = {"joint": "taxable", "ira": "traditional", "roth": "roth"}
MARGINAL = Rates(D("0.29"), D("0.20"), D("0.29"), D(3000))


def household(
    *, by_lot=(), buys=None, same_index=None, max_years=3, most=10**12, step="0.0001", min_move=0,
    **lots: list[tuple],
) -> House:  # fmt: skip
    """Accounts that bought (security, shares, price paid, day); BND and AGG are at 50 today, VTI at 100."""
    bought, holdings = [], {}
    for account, of in lots.items():
        for at, (security, shares, paid, *on) in enumerate(of):
            name, day = f"{account}-{at}", on[0] if on else OLD
            bought.append(
                Trade(
                    name,
                    account,
                    security,
                    True,
                    int(shares * NANO),
                    int(shares * paid * 100),
                    day,
                    None,
                    account != "joint",
                )
            )
            key = account, CLASS[security], security, name if account in by_lot else ""
            value, gain = shares * PRICES[security], shares * (PRICES[security] - paid)
            parts = (D(shares), value, *((D(0), gain) if term(day, MONDAY) == "long" else (gain, D(0))))
            holdings[key] = [a + b for a, b in zip(holdings.get(key, (D(0),) * 4), parts, strict=True)]
    year, groups = Year(MARGINAL, D(0), D(0)), same_index or {}

    def check(trades):
        return effects(bought, trades, [], Rules(), year, {}, groups)

    is_young = [
        OpenShares(t.trade_id, t.account_id, t.security_id, t.quantity, (MONDAY - t.traded_on).days <= 30)
        for t in bought
    ]
    return House(
        Terms(MONDAY, {a: Place(a != "joint", D("0.78") if a == "ira" else D(1), D(step), most) for a in lots}, PRICES,
              MARGINAL, D(max_years), D("0.0002"), D(min_move)),
        [Holding(*key, q, PRICES[key[2]], value, short, long) for key, (q, value, short, long) in sorted(holdings.items())],
        costs_of({a: KINDS[a] for a in lots}, ["Bonds", "US stocks"]),
        buys or {(a, n): [s for s in ("BND", "AGG", "VTI") if CLASS[s] == n and any(s == x[0] for o in lots.values() for x in o)]
                 for a in lots for n in ("Bonds", "US stocks")},
        {}, check, lambda trades, limits: beyond_in_part(trades, Young(is_young, groups), check, limits),
        Limits(5000, D("0.02"), 5000),
    )  # fmt: skip


def trades_of(planned: Planned) -> dict:
    return {(trade.account_id, trade.side, trade.security_id): trade for trades in planned.trades for trade in trades}


def test_bonds_in_the_taxable_account_change_places_with_stocks_in_the_ira():
    trades = trades_of(plan(household(joint=[("BND", 1000, 50)], ira=[("VTI", 400, 80)])))
    assert {key: trade.quantity for key, trade in trades.items()} == {
        ("ira", "sell", "VTI"): 400, ("joint", "sell", "BND"): 624,  # $40,000 in the IRA are $31,200 after tax
        ("ira", "buy", "BND"): 784, ("joint", "buy", "VTI"): D("305.76"),  # 2 % stay in cash
    }  # fmt: skip
    assert len({trade.proposal for trade in trades.values()}) == 1 and {
        trade.loss_usd for trade in trades.values()
    } == {0}
    [reason] = {trade.reason for trade in trades.values()}
    assert reason.startswith(
        "ira gives US stocks for Bonds, joint gives Bonds for US stocks: $31,200.00 after tax stand "
    )
    saving = D(31200) * (
        tax_cost(ASSUMED["Bonds"], HOUSEHOLD) - cost(ASSUMED["US stocks"], "taxable", HOUSEHOLD, LATER)
        + (ASSUMED["US stocks"].return_rate - ASSUMED["Bonds"].return_rate) * D("0.02") / D("0.78")
    )  # fmt: skip
    assert f"they save ${saving:,.2f} of tax a year, for no tax now and $28.20 of trading, back in " in reason


def test_what_the_move_would_buy_in_the_ira_is_not_sold_at_a_loss():
    found = plan(household(joint=[("BND", 1000, 60)], ira=[("VTI", 400, 80)]))
    assert found.moves == () and set(found.held_back) == {("joint", "Bonds")}
    reason = found.held_back["joint", "Bonds"]
    assert reason.startswith(
        "BND is not sold at a loss: $6,240.00 of loss would be disallowed, $6,240.00 of it for good"
    )
    assert "ira would buy 784 BND on 2026-03-09, the same day (26 USC 1091(a); Rev. Rul. 2008-5" in reason


def test_what_would_be_a_loss_if_it_fell_until_it_is_filled_is_not_bought_in_the_ira():
    def falling(**lots) -> Planned:
        house = household(**lots)
        return plan(house._replace(terms=house.terms._replace(fall_rate=D("0.02"))))

    at_its_basis = {"joint": [("BND", 1000, 50)], "ira": [("VTI", 400, 80)]}
    found = falling(**at_its_basis)
    assert found.moves == () and "if it fell by 2% until it is filled, $" in found.held_back["joint", "Bonds"]
    other = {("ira", "Bonds"): ["BND", "AGG"], ("joint", "US stocks"): ["VTI"]}
    assert ("ira", "buy", "AGG") in trades_of(falling(**at_its_basis, buys=other))
    assert falling(joint=[("BND", 1000, 45)], ira=[("VTI", 400, 80)], max_years=30).moves, "a gain of 11 % stays one"


def test_another_fund_of_the_class_is_bought_instead_unless_both_are_on_one_index():
    lots = {"joint": [("BND", 1000, 60)], "ira": [("VTI", 400, 80), ("AGG", 2, 50)]}
    trades = trades_of(plan(household(**lots)))
    assert {key[1:] for key in trades if key[0] == "ira"} == {("sell", "VTI"), ("buy", "AGG")}
    assert trades["joint", "sell", "BND"].loss_usd == 6240
    index = {"AGG": "US bonds", "BND": "US bonds"}
    assert plan(household(same_index=index, **lots)).moves == ()


def test_only_the_lots_at_a_loss_stay_where_the_broker_sells_the_lots_that_it_is_told():
    lots = [("BND", 300, 60), ("BND", 500, 49)]
    found = plan(household(joint=lots, ira=[("VTI", 400, 80)], by_lot=["joint"]))
    sale = trades_of(found)["joint", "sell", "BND"]
    assert (sale.quantity, sale.lots, sale.loss_usd) == (500, "joint-1:500", 0)
    assert "for $145.00 of tax now" in sale.reason  # $500 of short-term gain at 29 %
    assert set(found.held_back) == {("joint", "Bonds")}


def test_the_lots_whose_tax_comes_back_in_time_are_moved_and_the_others_left():
    lots = [("BND", 300, 25, date(2024, 6, 3)), ("BND", 500, 49, date(2024, 7, 1))]
    found = plan(household(joint=lots, ira=[("VTI", 400, 80)], by_lot=["joint"]))
    assert trades_of(found)["joint", "sell", "BND"].lots == "joint-1:500"
    [left] = found.left
    assert [draft.lots for draft, _ in left.drafts if draft.account_id == "joint" and draft.lots] == ["joint-0:124"]
    assert left.tax_usd == 124 * 25 * D("0.20")


def test_a_loss_that_a_purchase_of_last_week_would_wash_is_not_realised():
    lots = {"joint": [("BND", 1000, 60)], "ira": [("VTI", 400, 80)], "roth": [("BND", 700, 50, date(2026, 2, 20))]}
    only_agg = {("ira", "Bonds"): ["AGG"], ("joint", "US stocks"): ["VTI"]}
    found = plan(household(buys=only_agg, **lots))
    assert ("joint", "sell", "BND") not in trades_of(found)
    assert "roth bought 700 BND on 2026-02-20" in found.held_back["joint", "Bonds"]
    before = {**lots, "roth": [("BND", 700, 50, date(2026, 2, 6))]}  # 31 days
    assert ("joint", "sell", "BND") in trades_of(plan(household(buys=only_agg, **before)))


def test_a_purchase_that_would_wash_a_loss_of_last_week_is_not_made():
    """AGG was sold at a loss; the IRA then buys BND, the second choice, and without a second choice nothing."""
    lots = {"joint": [("BND", 1000, 50)], "ira": [("VTI", 400, 80)]}
    house = household(buys={("ira", "Bonds"): ["AGG", "BND"], ("joint", "US stocks"): ["VTI"]}, **lots)
    sold = [
        Trade("L", "joint", "AGG", True, 400 * NANO, 400 * 9000, OLD, None, False),
        Trade("S", "joint", "AGG", False, 400 * NANO, 400 * 5000, date(2026, 3, 2), None, False),
    ]
    held = [
        Trade(f"{a}-0", a, s, True, n * NANO, n * p * 100, OLD, None, a != "joint") for a, [(s, n, p)] in lots.items()
    ]
    year = Year(MARGINAL, D(0), D(0))

    def check(trades):
        return effects([*sold, *held], trades, [], Rules(), year)

    assert ("ira", "buy", "BND") in trades_of(plan(house._replace(effects=check)))
    one = {("ira", "Bonds"): ["AGG"], ("joint", "US stocks"): ["VTI"]}
    assert plan(house._replace(effects=check, buys=one)).moves == ()


@pytest.mark.parametrize(("paid", "years"), [(48, "3"), (40, "11.5"), (25, "30")])
def test_a_gain_is_realised_only_where_the_saving_pays_for_it_in_time(paid, years):
    """Sold at 50 with 20 % of tax on the gain, against a saving of some 0.4 % a year."""
    lots = {"joint": [("BND", 1000, paid, date(2024, 6, 3))], "ira": [("VTI", 400, 80)]}
    assert plan(household(max_years=years, **lots)).moves
    assert plan(household(max_years=D(years) * D("0.75"), **lots)).moves == ()


@pytest.mark.parametrize("paid", [89, 95])
def test_a_broker_that_sells_its_oldest_lots_first_is_held_to_their_exact_tax(paid):
    """The holding as a whole has hardly a gain, or none; the oldest lot, which goes first, has a large one."""
    lots = [("BND", 600, 10, date(2024, 6, 3)), ("BND", 600, paid, date(2024, 7, 1))]
    found = plan(household(joint=lots, ira=[("VTI", 300, 80)]))
    assert found.moves == ()
    assert "of tax now" in found.held_back["joint", "Bonds"] and "(at most 3)" in found.held_back["joint", "Bonds"]


def test_trading_alone_can_take_too_long_to_come_back():
    """Four trades of $31,200 after tax are two of $31,200 and two of $40,000."""
    house = household(joint=[("BND", 1000, 50)], ira=[("VTI", 400, 80)])
    [move] = plan(house).moves
    rate, saving = D("0.0010"), move.saving_usd

    def within(usd):
        return plan(house._replace(terms=house.terms._replace(trade_rate=rate, max_years=D(usd) * rate / saving)))

    assert within(143000).moves
    assert within(127000).moves == () and "for no tax now and $14" in within(127000).held_back["joint", "Bonds"]


def test_what_does_not_pay_in_time_is_left_and_says_in_how_many_years_it_would():
    """$15,000 of long-term gain in 624 of 1,000 shares at 20 %: the program leaves it, and the check never sees it."""
    lots = {"joint": [("BND", 1000, 25, date(2024, 6, 3))], "ira": [("VTI", 400, 80)]}
    found = plan(household(**lots))
    assert found.moves == () and found.trades == ()
    [left] = found.left
    assert left.tax_usd == 624 * 25 * D("0.20") and left.years > 3
    assert set(found.held_back) == {("joint", "Bonds"), ("ira", "US stocks")}
    assert f"for $3,120.00 of tax now and $28.20 of trading, back in {left.years:.1f} years (at most 3)" in left.reason
    assert found.held_back["joint", "Bonds"] == left.reason
    assert plan(household(max_years=left.years + 1, **lots)).left == ()


def test_what_a_day_does_not_move_is_left_for_a_later_one():
    found = plan(household(most=10_000_00, joint=[("BND", 1000, 50)], ira=[("VTI", 400, 80)]))
    [made], [left] = found.made, found.left
    assert (made.move.cents, left.move.cents) == (10_000_00, 21_200_00)
    assert left.reason.endswith("; more than a day moves: on a later one")


def test_accounts_that_cost_the_same_exchange_nothing_though_trading_were_free():
    costs = costs_of({"a": "traditional", "b": "traditional"}, ["Bonds", "US stocks"])
    blocks = [Block("a", "US stocks", "VTI", "", 100_00), Block("b", "Bonds", "BND", "", 100_00)]
    for held in (blocks, [one._replace(account_id="ab"[one.account_id == "a"]) for one in blocks]):
        assert relocate(held, costs, costs, D(3), D(0)) == []


def test_whole_shares_are_traded_where_no_others_are_and_small_moves_are_left():
    lots = {"joint": [("BND", 1000, 50)], "ira": [("VTI", 333, 80)]}
    trades = trades_of(plan(household(step=1, **lots)))
    assert {trade.quantity % 1 for trade in trades.values()} == {0} and trades["joint", "sell", "BND"].quantity == 519
    part = household(step=1, joint=[("BND", D("100.5"), 50)], ira=[("VTI", 333, 80)])
    assert trades_of(plan(part))["joint", "sell", "BND"].quantity == 100
    assert plan(household(min_move=30000, **lots)).moves == ()


# A household in the warehouse -------------------------------------------------------------------------

LOCATION = "[location]\nfall_rate = 0\n[gates]\nmax_order_weight = 1.0\n"


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    house = Small(tmp_path_factory.mktemp("location") / "home", {"BND": 50.0, "VTI": 100.0, "ODD": 10.0, "NEW": 25.0})
    sectors = {"BND": "Bonds", "NEW": "Bonds", "VTI": "US stocks", "ODD": "Collectibles"}
    rows = [f"{name},{name},{sector}," for name, sector in sectors.items()]
    (house.home / "prices" / "securities.csv").write_text("\n".join(("symbol,name,sector,kind", *rows, "")))
    held = {"joint": {"BND": (1000, 50), "ODD": (10, 12)}, "ira": {"VTI": (400, 80)}}
    for name, lots in held.items():
        house.account(name, type="taxable" if name == "joint" else "traditional_ira", owner="self")
        said = [f"{name}-{s},{OLD},trade,buy,{s},{n},{paid},0,{-n * paid}," for s, (n, paid) in lots.items()]
        house.says(name, f"{name}-D,2025-01-02,deposit,,,0,0,0,100000,", *said)
        left = 100000 - sum(n * paid for n, paid in lots.values())
        house.holds(name, FRIDAY, usd=str(left), **{s: str(n) for s, (n, _) in lots.items()})
    house.run(FRIDAY)
    return house


def asked(house: Small, toml: str) -> tuple[dict, dict]:
    """The proposed trades by account, side and security, and the rows of core.location, with this policy."""
    before = house.portfolio
    house.portfolio += toml
    day = day_of(house.settings(), FRIDAY, datetime(2026, 3, 9, 1))
    house.portfolio = before
    with writer(day.settings.warehouse) as warehouse:
        found = {(trade.account_id, trade.side, trade.security_id): trade for trade in location(warehouse, day)}
        rows = warehouse.rows("SELECT * FROM core.location").to_dicts()
    return found, {(row["account_id"], row["asset_class"]): row for row in rows}


def question(name: str) -> str:
    return (sql_folder() / "ask" / f"{name}.sql").read_text()


def column(rows: dict, name: str) -> dict:
    return {cell: row[name] for cell, row in rows.items()}


def test_nothing_is_proposed_unless_it_is_asked_for(small):
    assert asked(small, "") == ({}, {})


def test_the_books_are_located(small):
    trades, rows = asked(small, LOCATION)
    assert {key: trade.quantity for key, trade in trades.items()} == {
        ("ira", "sell", "VTI"): 400, ("joint", "sell", "BND"): 624, ("ira", "buy", "BND"): 784, ("joint", "buy", "VTI"): D("305.76"),
    }  # fmt: skip
    planned = {
        ("ira", "Bonds"): 31200,
        ("joint", "Bonds"): 18800,
        ("joint", "US stocks"): 31200,
        ("ira", "US stocks"): 0,
    }
    assert column(rows, "planned_usd") == planned | {("joint", "Collectibles"): 100}
    assert column(rows, "ideal_usd") == {
        **{cell: usd or None for cell, usd in planned.items()},
        ("joint", "Collectibles"): None,
    } | {("ira", "US stocks"): 0}
    assert rows["ira", "US stocks"]["value_usd"] == 40000 and rows["ira", "US stocks"]["after_tax_usd"] == 31200


def test_the_ideal_location_is_that_of_the_targets(small):
    _, rows = asked(small, LOCATION + '[targets]\nBonds = 0.3\n"US stocks" = 0.6\nCash = 0.1\n')
    assert {cell: usd for cell, usd in column(rows, "ideal_usd").items() if usd} == {
        ("ira", "Bonds"): D("27066.67"), ("ira", "US stocks"): D("4133.33"), ("joint", "US stocks"): 50000,
    }  # fmt: skip


def test_a_class_without_a_target_has_no_place_in_the_ideal_location(small):
    alike = '[location.like]\nCollectibles = "Bonds"\n[targets]\nBonds = 0.4\n"US stocks" = 0.6\n'
    _, rows = asked(small, LOCATION + alike)
    ideal = column(rows, "ideal_usd")
    assert (
        ideal["joint", "Collectibles"] == 0
        and sum(ideal.values()) == 81300
        and rows["joint", "Collectibles"]["reason"] == ""
    )


def test_a_class_of_unknown_yields_stays_where_it_is_and_says_so(small):
    _, rows = asked(small, LOCATION)
    odd = rows["joint", "Collectibles"]
    assert odd["reason"].startswith("yields of Collectibles are not known: say them in [location.classes]")
    assert odd["cost_rate"] is None and odd["ideal_usd"] is None
    _, rows = asked(small, LOCATION + '[location.like]\nCollectibles = "Bonds"\n')
    assert rows["joint", "Collectibles"]["reason"] == "" and rows["joint", "Collectibles"]["cost_rate"] > 0


def test_nothing_is_sold_at_a_loss_while_a_purchase_may_be_unseen(small):
    alike = LOCATION + '[location.like]\nCollectibles = "Bonds"\n'
    assert asked(small, alike)[1]["joint", "Collectibles"]["reason"] == ""
    small.change(
        "UPDATE core.source_status SET is_sound = false, reason = 'too old' WHERE source = 'ira' AND kind = 'activities'"
    )
    _, rows = asked(small, alike)
    small.change("UPDATE core.source_status SET is_sound = true WHERE source = 'ira' AND kind = 'activities'")
    assert rows["joint", "Collectibles"]["reason"] == (
        "ODD is not sold at a loss: a purchase that nobody has seen yet could wash it: too old"
    )
    assert rows["joint", "Bonds"]["reason"] == ""


def test_an_account_buys_only_what_it_can_hold_and_sells_nothing_that_is_not_to_be_traded(small):
    trades, rows = asked(small, LOCATION + 'do_not_trade = ["BND"]\n')
    assert trades == {} and rows["joint", "Bonds"]["reason"] == "BND is on the do-not-trade list"
    whole = small.portfolio
    small.portfolio = whole.replace('id = "ira"', 'id = "ira"\ncan_hold = ["VTI", "ODD"]')
    trades, rows = asked(small, LOCATION)
    small.portfolio = whole
    assert trades == {} and rows["joint", "Bonds"]["ideal_usd"] == 50000


def test_what_no_method_may_trade_today_is_a_half_that_could_not_be_done(small):
    """Books that differ in the IRA, or an old price of what it holds: then the other half is not done either."""
    small.change("INSERT INTO core.breaks VALUES ('ira', 'VTI', 'shares', 401, 400, true, false, 'a trade is missing')")
    trades, rows = asked(small, LOCATION)
    assert trades == {} and rows["ira", "US stocks"]["reason"] == "ira: its broker holds something else"
    assert rows["ira", "Bonds"]["ideal_usd"] == 31200, "where it would stand best does not hang on today's locks"
    small.change("DELETE FROM core.breaks")
    small.change("UPDATE core.latest_prices SET sessions_old = 2 WHERE security_id = 'VTI'")
    trades, rows = asked(small, LOCATION)
    small.change("UPDATE core.latest_prices SET sessions_old = 0")
    assert trades == {} and rows["ira", "US stocks"]["reason"] == "VTI has no price"
    assert rows["joint", "US stocks"]["ideal_usd"] == 31200
    assert asked(small, LOCATION)[0] != {}


def test_what_the_policy_names_is_bought_at_a_fresh_price_or_not_at_all(small):
    named = LOCATION + '[location.buy]\nBonds = ["NEW"]\n'
    trades, _ = asked(small, named)
    assert trades["ira", "buy", "NEW"].quantity == 1568 and ("ira", "buy", "BND") not in trades
    small.change("UPDATE core.latest_prices SET sessions_old = 2 WHERE security_id = 'NEW'")
    trades, rows = asked(small, named)
    small.change("UPDATE core.latest_prices SET sessions_old = 0")
    assert trades == {} and rows["joint", "Bonds"]["reason"].startswith("nothing of Bonds can be bought: ")


def test_the_moves_can_be_asked_for_with_the_years_in_which_they_are_back(small):
    asked(small, LOCATION)
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        rows = warehouse.rows(question("what_should_stand_in_another_account")).to_dicts()
        located = warehouse.rows("FROM mart.asset_location").to_dicts()
    assert [(row["account_id"], row["sold_class"], row["trades"]) for row in rows] == [
        ("ira", "US stocks", "sell 400 VTI, buy 784 BND"), ("joint", "Bonds", "sell 624 BND, buy 305.76 VTI"),
    ]  # fmt: skip
    assert {row["is_proposed"] for row in rows} == {True} and {row["tax_usd"] for row in rows} == {0}
    assert rows[0]["break_even_years"] == round(float(rows[0]["trading_usd"] / rows[0]["saving_usd"]), 1)
    too_much = {(row["account_id"], row["asset_class"]): row["too_much_usd"] for row in located}
    assert too_much["joint", "Bonds"] == 31200 and too_much["joint", "US stocks"] == -31200


def test_what_is_left_can_be_asked_for_too(small):
    asked(small, LOCATION.replace("[location]", "[location]\nmin_move_usd = 0\ntrade_cost_bps = 1000"))
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        rows = warehouse.rows(question("what_should_stand_in_another_account")).to_dicts()
    assert [row["is_proposed"] for row in rows] == [False, False] and rows[0]["break_even_years"] > 3


def test_the_break_even_of_foreign_tax_can_be_asked_for(small):
    alike = '[location.like]\nCollectibles = "International stocks"\n'
    asked(small, LOCATION + alike)
    with writer(small.folder / "warehouse.duckdb") as warehouse:
        rows = {
            row["asset_class"]: row for row in warehouse.rows(question("what_does_each_class_cost_where")).to_dicts()
        }
    abroad = rows["Collectibles"]
    assert abroad["withholding_rate"] == 0.07 and abroad["withheld_rate"] == 0.0021 and not abroad["is_better_taxable"]
    law = tax_year(law_rows(), 2026, "mfj")
    expected = break_even(ASSUMED["International stocks"], ASSUMED["US stocks"], taxes(law, D(210000), D("0.05")))
    assert abroad["break_even_rate"] == round(float(expected.break_even_rate), 4)
    assert rows["US stocks"]["is_better_taxable"] is None and rows["Bonds"]["roth_rate"] == 0


def test_little_foreign_tax_is_credited_without_a_limit(small):
    """10 shares at $10 from abroad bear $0.21; at 90 % withheld the limit would bind."""
    abroad = "[location.classes.Collectibles]\nordinary_rate = 0.03\nforeign_share = 1.0\nwithholding_rate = 0.9\n"
    _, rows = asked(small, LOCATION + abroad)
    assert rows["joint", "Collectibles"]["cost_rate"] == pytest.approx(0.03 * (0.22 + 0.05) - 0.027)
    everything = abroad + '[location.like]\nBonds = "Collectibles"\n'  # $50,000 x 2.7 % is more than $600
    _, rows = asked(small, LOCATION + everything)
    limit = float(taxes(tax_year(law_rows(), 2026, "mfj"), D(210000), D(0)).credit_rate)
    assert rows["joint", "Bonds"]["cost_rate"] == pytest.approx(0.03 * (0.22 + 0.05 - limit))


def test_targets_of_unknown_yields_have_no_ideal_location_and_say_so(small):
    _, rows = asked(small, LOCATION + "[targets]\nBonds = 0.5\nArt = 0.5\n")
    assert set(column(rows, "ideal_usd").values()) == {None}
    assert rows["ira", "US stocks"]["reason"].startswith("yields of Art are not known: say them in")


def test_a_security_that_is_a_class_of_its_own_has_the_yields_of_its_sector(small):
    _, rows = asked(small, LOCATION + "[targets]\nBonds = 0.4\nVTI = 0.6\n")
    of = asked(small, LOCATION)[1]
    assert rows["ira", "VTI"]["cost_rate"] == of["ira", "US stocks"]["cost_rate"] > 0
    assert rows["joint", "VTI"]["ideal_usd"] > 0 and ("ira", "US stocks") not in rows


def test_what_a_child_owns_is_not_exchanged(small):
    whole = small.portfolio
    small.portfolio = whole.replace(
        'id = "joint"\nname = "joint"\ntype = "taxable"', 'id = "joint"\nname = "joint"\ntype = "utma"'
    )
    assert small.portfolio != whole
    trades, rows = asked(small, LOCATION)
    small.portfolio = whole
    assert trades == {} and rows["joint", "Bonds"]["reason"] == (
        "joint is a child's: it is not exchanged for what others own"
    )
    assert rows["joint", "Bonds"]["ideal_usd"] is None and rows["ira", "US stocks"]["ideal_usd"] == 31200


def test_what_stands_at_its_basis_is_moved_only_where_the_policy_says_that_no_fall_is_feared(small):
    assert asked(small, LOCATION)[0] and not asked(small, LOCATION.replace("fall_rate = 0\n", ""))[0]


def test_a_day_moves_no_more_than_the_gate_lets_an_order_be(small):
    trades, _ = asked(small, "[location]\nfall_rate = 0\n")  # a tenth of the account
    assert trades["ira", "sell", "VTI"].quantity == 40 and trades["joint", "sell", "BND"].quantity == D("62.4")


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[location.like]\nTech = "US stock"\n', "like names US stock; yields are known of Bonds, "),
        ("[location]\nretirement_rate = 0.3\n", "retirement_growth_rate is below retirement_rate"),
        ("[location.classes.Tech]\nyield = 0.01\n", "location.classes.Tech.yield: Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(tmp_path, toml, said):
    house = Small(tmp_path / "home", {"VTI": 100.0})
    house.account("joint")
    house.portfolio += toml
    with pytest.raises(SettingsError, match=said):
        house.settings()
