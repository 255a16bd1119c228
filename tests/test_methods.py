"""From a policy to a stored decision: each method through the arbiter, beside the others."""

from datetime import date
from typing import get_args

import pytest
from small import Small

from flows.decide import METHODS
from flows.policy import Sleeve
from flows.settings import Portfolio

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
    apart.portfolio += "[location]\n[gates]\nmax_order_weight = 1.0\n"
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
    apart.portfolio += f"[location]\n[gates]\nmax_order_weight = 1.0\n{sleeve}"
    apart.run(FRIDAY)
    assert not apart.ask("FROM ledger.batch_lines")
    assert apart.ask(
        "SELECT DISTINCT refusal LIKE '%is the sleeve kept, which none trades%' FROM core.proposed_trades"
    ) == [(True,)]
