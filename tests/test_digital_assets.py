"""Digital assets: no wash sale while no dated row of the law says so, basis by wallet, and what would be at stake."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from small import Small

from flows.ledger import own_books_identify
from transforms.lots.book import book
from transforms.lots.rules import Rules, rules
from transforms.model import Trade
from warehouse.law import law_rows, policy

FRIDAY = date(2026, 3, 6)
D = Decimal
ROWS = (
    "D-1,2026-01-02,deposit,,,,,,10000,",
    "B-1,2026-01-05,trade,buy,BTC,10,100,0,-1000,",
    "S-1,2026-03-02T10:00:00,trade,sell,BTC,10,70,0,700,",
    "B-2,2026-03-05,trade,buy,BTC,4,72,0,-288,",
)


def household(home: Path, kind: str = "digital_asset") -> Small:
    made = Small(home, {"BTC": 75.0}, {"BTC": kind})
    made.account("joint")
    made.says("joint", *ROWS)
    made.holds("joint", FRIDAY, BTC="4", usd="9412")
    return made


def test_a_digital_asset_bought_back_is_no_wash_sale_today_and_the_rebuy_is_kept_for_the_day_that_the_law_changes(
    tmp_path,
):
    house = household(tmp_path / "home")
    house.run(FRIDAY)
    assert house.ask("SELECT gain_usd, adjustment_usd FROM core.disposals") == [(-300, 0)]
    assert house.ask("SELECT trade_id, rebuy_id, days, quantity, at_stake_usd, is_washed FROM mart.digital_rebuys") == [
        ("S-1", "B-2", 3, 4, 120, False)
    ]


@pytest.mark.parametrize("kind", ["", "fund", "security"])
def test_a_crypto_fund_and_a_tokenised_security_are_securities_and_wash(tmp_path, kind):
    house = household(tmp_path / "home", kind)
    house.run(FRIDAY)
    assert house.ask("SELECT adjustment_usd FROM core.disposals") == [(120,)]
    assert house.ask("FROM mart.digital_rebuys") == []


def test_a_dated_row_of_the_law_makes_it_a_wash_sale_from_its_day_on():
    law, table = law_rows(), "wash_sale_applies_to_digital_assets"
    changed = law | {table: [*law[table], law[table][0] | {"effective_from": "2026-03-02", "value": "true"}]}

    def trade(name: str, is_buy: bool, usd: int, day: int) -> Trade:
        return Trade(name, "w", "BTC", is_buy, 10**9, usd * 100, date(2026, 3, day), None, False, is_digital=True)

    for day, disallowed in ((1, 0), (2, 3000)):
        events = [trade("A", True, 100, 1), trade("S", False, 70, day), trade("B", True, 72, 10)]
        assert book(events, rules(changed, policy({}), FRIDAY)).disposals[0].disallowed == disallowed
        assert book(events, Rules()).disposals[0].disallowed == 0


def test_a_digital_assets_sale_is_on_a_1099_da_with_its_basis_when_it_was_bought_since_2026(tmp_path):
    house = household(tmp_path / "home")
    older = ("B-0,2025-01-05,trade,buy,BTC,1,50,0,-50,", "S-0,2024-12-30,trade,sell,BTC,1,50,0,50,")
    oldest = "A-0,2024-01-05,trade,buy,BTC,1,50,0,-50,"
    house.says("joint", ROWS[0], oldest, older[1], older[0], *ROWS[1:], "S-2,2026-03-06,trade,sell,BTC,1,70,0,70,")
    house.run(FRIDAY)
    assert house.ask("SELECT trade_id, lot_id, box FROM core.reported_sales ORDER BY sold_on, lot_id") == [
        ("S-0", "A-0", "C"),  # no broker reported it then
        ("S-1", "B-0", "K"),
        ("S-1", "B-1", "G"),
        ("S-2", "B-1", "G"),
    ]


def test_each_wallet_has_its_own_first_in_first_out(tmp_path):
    house = household(tmp_path / "home")
    house.account("wallet")
    house.says("wallet", "W-1,2020-01-06,trade,buy,BTC,10,5,0,-50,")
    house.holds("wallet", FRIDAY, BTC="10", usd="-50")
    house.run(FRIDAY)
    assert house.ask("SELECT lot_id FROM core.disposals") == [("B-1",)], "not the older lot of another wallet"


def decided(house: Small, session_on: date) -> None:
    """As a decision of ours that meant lot B-2 and was filled as S-1 leaves the ledger."""
    house.change(
        f"INSERT INTO ledger.batches VALUES ('b', 'joint', '{session_on}', '{session_on} 21:00:00', '{session_on}', "
        f"'daily', 2, 'h', 'auto', '', 'r', "
        "now()::TIMESTAMP)"
    )
    house.change(
        "INSERT INTO ledger.batch_lines VALUES ('b', 1, 1, 'harvest', 'sell', 'BTC', 10, 70, '', 0, 0, '', 'B-2:10', 'B-1:10')"
    )
    house.change("INSERT INTO ledger.intents VALUES ('o', 'b', 1, 1, 10, NULL, NULL, '', now()::TIMESTAMP)")
    house.change("INSERT INTO ledger.order_events VALUES ('o', 'fill', 'S-1', 10, '', now()::TIMESTAMP)")


@pytest.mark.parametrize(("kind", "lot", "how"), [("digital_asset", "B-2", ["own books"]), ("security", "B-1", [])])
def test_our_own_books_identify_what_a_broker_of_digital_assets_does_not(tmp_path, kind, lot, how):
    house = Small(tmp_path / "home", {"BTC": 75.0}, {"BTC": kind})
    house.account("joint")
    day = date(2026, 3, 5)
    house.says(
        "joint", "D-1,2026-01-02,deposit,,,,,,10000,", "B-1,2026-01-05,trade,buy,BTC,10,100,0,-1000,",
        "B-2,2026-01-06,trade,buy,BTC,10,120,0,-1200,", f"S-1,{day},trade,sell,BTC,10,70,0,700,",
    )  # fmt: skip
    house.holds("joint", day, BTC="10", usd="8500")
    house.run(date(2026, 3, 4))
    decided(house, day)
    house.run(day)
    assert house.ask("SELECT lot_id FROM core.disposals") == [(lot,)]
    assert [row[0] for row in house.ask("SELECT how FROM core.identifications")] == how
    assert house.ask("SELECT lot_id FROM core.broker_disposals") == [("B-1",)]
    if how:
        [(code, basis, gain, note)] = house.ask(
            "SELECT adjustment_code, basis_usd, gain_usd, note FROM core.reported_sales"
        )
        assert (code, basis, gain) == ("B", 1000, -500) and "the broker relieved lot B-1" in note


def test_our_own_books_do_so_through_2026_and_no_longer():
    days = [date(2024, 12, 31), date(2025, 1, 1), date(2026, 12, 31), date(2027, 1, 1)]
    assert [own_books_identify(day) for day in days] == [False, True, True, False]
