"""From a policy to a stored decision: each method through the arbiter, beside the others."""

from datetime import date, timedelta
from pathlib import Path
from typing import get_args

import pytest
from small import Small

from flows.decide import METHODS
from flows.policy import Sleeve
from flows.settings import Portfolio

SQL = Path(__file__).parents[1] / "sql"
DAY, FILL = date(2022, 10, 14), date(2022, 10, 17)
FRIDAY, OLD = date(2026, 3, 6), "2021-01-04"
BANDS = '\n[[sleeves]]\nname = "all"\nmethod = "bands"\n'


def methods(house, table: str = "ledger.batch_lines") -> set[str]:
    return {name for (names,) in house.ask(f"SELECT DISTINCT method FROM {table}") for name in names.split(", ")}


def test_every_method_has_a_rank_and_a_sleeve_names_only_methods():
    assert set(METHODS) | {"hand"} == set(Portfolio.model_fields["rank"].default)
    sleeve = set(get_args(Sleeve.model_fields["method"].annotation))
    assert sleeve - {"none"} <= set(METHODS)


def test_a_household_that_asks_for_nothing_else_is_offered_harvests_only(day_after):
    assert methods(day_after, "core.proposed_trades") == {"harvest"}
    assert not day_after.ask("FROM core.left_alone")


def test_bands_and_harvests_are_one_decision_and_their_orders_are_filled_once(day_before):
    day_before.add("portfolio.toml", *BANDS.splitlines())
    day_before.run(DAY)
    assert methods(day_before) == {"harvest", "bands"}
    energy = "SELECT drift FROM core.drift WHERE asset_class = 'Energy'"
    [(before,)] = day_before.ask(energy)
    sold = day_before.ask(
        "SELECT account_id, reason FROM ledger.batch_lines JOIN ledger.batches USING (batch_id) WHERE method = 'bands' AND side = 'sell'"
    )
    assert {account for account, _ in sold} == {"ira"} and all(
        "Energy" in why and "against 10" in why for _, why in sold
    )
    unfilled = "SELECT DISTINCT side FROM mart.orders WHERE method = 'bands' AND status <> 'filled'"
    assert day_before.ask(unfilled) == [("buy",)], "the market rose by more than what was left of the cash"
    assert {account for (account,) in day_before.ask("SELECT account_id FROM mart.cash WHERE cash_usd < 0")} <= {
        "ira"
    }, "there the simulated broker filled a sale and what it paid for at one close"
    assert day_before.ask("SELECT DISTINCT limit_usd FROM mart.orders WHERE account_id = 'ira' AND side = 'sell'") == [
        (None,)
    ]
    fills = "SELECT client_order_id, transaction_id FROM ledger.order_events WHERE event = 'fill' ORDER BY ALL"
    filled = day_before.ask(fills)
    day_before.run(DAY)
    assert day_before.ask(fills) == filled, "done again it fills nothing"
    day_before.run(FILL)
    [(after,)] = day_before.ask(energy)
    assert 0 < after < 0.02 < before and not day_before.ask("FROM core.drift WHERE is_outside")


@pytest.fixture
def apart(tmp_path) -> Small:
    """Bonds in the taxable account, stocks in the IRA: each would be better in the other."""
    house = Small(tmp_path / "home", {"BND": 50.0, "VTI": 100.0})
    rows = ["BND,BND,Bonds,", "VTI,VTI,US stocks,"]
    (house.home / "prices" / "securities.csv").write_text("\n".join(("symbol,name,sector,kind", *rows, "")))
    for name, security, shares, price in (("joint", "BND", 1000, 50), ("ira", "VTI", 400, 80)):
        house.account(name, type="taxable" if name == "joint" else "traditional_ira", owner="self")
        paid = shares * price
        house.says(
            name,
            f"{name}-D,2021-01-02,deposit,,,0,0,0,100000,",
            f"{name}-1,{OLD},trade,buy,{security},{shares},{price},0,{-paid},",
        )
        house.holds(name, FRIDAY, usd=str(100000 - paid), **{security: str(shares)})
    return house


def test_a_move_of_asset_location_is_decided_in_both_accounts(apart):
    apart.portfolio += "[location]\nfall_rate = 0\n[gates]\nmax_order_weight = 1.0\n"
    apart.run(FRIDAY)
    lines = apart.ask(
        "SELECT account_id, side, security_id, method FROM ledger.batch_lines JOIN ledger.batches USING (batch_id) ORDER BY ALL"
    )
    assert lines == [
        ("ira", "buy", "BND", "location"), ("ira", "sell", "VTI", "location"),
        ("joint", "buy", "VTI", "location"), ("joint", "sell", "BND", "location"),
    ]  # fmt: skip
    assert apart.ask("SELECT count(*) > 0 FROM core.location WHERE ideal_usd > 0") == [(True,)]


def test_what_a_sleeve_keeps_for_another_method_is_not_moved(apart):
    sleeve = '[[sleeves]]\nname = "kept"\nmethod = "none"\naccounts = ["ira"]\n'
    apart.portfolio += f"[location]\nfall_rate = 0\n[gates]\nmax_order_weight = 1.0\n{sleeve}"
    apart.run(FRIDAY)
    assert not apart.ask("FROM ledger.batch_lines")
    assert apart.ask(
        "SELECT DISTINCT refusal LIKE '%is the sleeve kept, which none trades%' FROM core.proposed_trades"
    ) == [(True,)]


def test_an_index_is_not_harvested_besides_unless_the_policy_says_so():
    own = {"name": "index", "accounts": ["joint"]}
    assert not Sleeve(**own, method="index").is_harvested and Sleeve(**own, method="index", harvest=True).is_harvested
    assert Sleeve(**own, method="bands").is_harvested


def test_a_withdrawal_that_cannot_be_raised_and_a_class_that_nobody_has_are_said_in_the_summary(apart):
    apart.portfolio += (
        '[targets]\nBonds = 0.5\nGould = 0.5\n[[sleeves]]\nname = "all"\nmethod = "cash_flow"\n'
        '[[withdrawals]]\naccount = "ira"\namount_usd = 2000000\n'
        f"on = {FRIDAY}\n".replace(str(FRIDAY), str(FRIDAY + timedelta(days=5)))
    )
    said = apart.run(FRIDAY)
    assert "[targets] 'Gould': no security is of this class" in said
    assert "ira, $" in said and "so much is not raised today" in said


def test_a_harvest_that_the_arbiter_left_out_is_not_told_as_done(day_before):
    day_before.add("portfolio.toml", "[[sleeves]]", 'name = "kept"', 'method = "none"', "harvest = false")
    day_before.run(DAY)
    refusals = [row[0] for row in day_before.ask("SELECT reason FROM mart.harvest_candidates WHERE is_refused")]
    assert sum("left out: " in why and "which is not harvested" in why for why in refusals) > 1
    assert day_before.ask("SELECT * FROM mart.harvest_candidates WHERE NOT is_refused") == []
    said = day_before.ask("SELECT note FROM (" + (SQL / "ask/what_was_refused.sql").read_text().split(";")[0] + ")")
    assert any("is not harvested" in note for (note,) in said)
