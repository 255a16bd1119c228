"""What may not be bought or sold today, what is known to come, and which accounts nobody sees: from warehouse to page."""

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from flows.accounts import NOT_LISTED
from flows.day import day_of
from flows.evidence import held_back_by_gates
from flows.pre_trade import known
from flows.report import report
from flows.settings import Portfolio
from transforms.harvest.benefit import Rates
from transforms.lots.check import Year, effects
from transforms.lots.rules import Rules
from transforms.model import RULES, Trade
from transforms.orders.gates import Line
from transforms.tables import USD, core
from warehouse.db import Warehouse, writer

D = Decimal
SALE_ON = date(2025, 6, 16)
NOW = datetime(2025, 6, 16, 21, 30)
DAY, FILL = date(2022, 10, 14), date(2022, 10, 17)
IRA_LAW, OWN_LAW = RULES["deferred"], RULES["purchase"]


def around(day: int) -> date:
    return SALE_ON + timedelta(days=day)


# A small warehouse ------------------------------------------------------------------------------------


@pytest.fixture
def warehouse(tmp_path) -> Iterator[Warehouse]:
    with writer(tmp_path / "warehouse.duckdb") as open_one:
        rows = [
            {"account_id": name, "name": name, "type": kind, "owner": "joint", "broker": "simulated", "relief": "on_order",
             "method": "fifo", "mode": "auto", "is_deferred": kind != "taxable", "booked_to": around(0)}
            for name, kind in (("joint", "taxable"), ("other", "taxable"), ("ira", "traditional_ira"))
        ]  # fmt: skip
        open_one.replace("core.accounts", core("accounts", pl.DataFrame(rows)))
        yield open_one


def fill(warehouse: Warehouse, today: date = SALE_ON, **tables: Iterable[tuple]) -> None:
    """Rows of core, in the order of their columns, as they stand on a day."""
    run = {"run_id": str(today), "stage": "booked", "as_of": today, "known_at": NOW, "reached_at": NOW,
           "law_hash": "l", "policy_hash": "p", "version": "0"}  # fmt: skip
    warehouse.run("DELETE FROM ledger.runs")
    warehouse.append("ledger.runs", pl.DataFrame([run]))
    for name, rows in tables.items():
        contract = list(core(name, []).columns)
        named = [dict(zip(contract, row, strict=False)) for row in rows]
        for row in named:
            row |= {"rule": "purchase", "replacement_quantity": row.get("quantity")} if name == "wash_sales" else {}
        frame = core(name, []).clear()
        warehouse.replace(
            f"core.{name}", core(name, pl.DataFrame(named, schema_overrides=dict(frame.schema))) if named else frame
        )


def sold(trade: str, shares: str, usd: str, basis: str, on: date = SALE_ON, washed: str = "0", lot: str = "", **rest):
    gain = D(usd) - D(basis) + D(washed)
    return (trade, lot or f"L-{trade}", rest.get("slice", 1), rest.get("account", "joint"), rest.get("security", "XYZ"),
            D(shares), date(2024, 3, 1), date(2024, 3, 1), on, D(usd), D(basis), "W" if D(washed) else "", D(washed), D(0),
            gain, "long", True)  # fmt: skip


def lot(
    name: str, shares: str, on: date, account: str = "joint", security: str = "XYZ", since: date | None = None, n=1
):
    deferred = account == "ira"
    return name, n, account, security, D(shares), on, since or on, date(2026, 1, 1), D(shares) * 100, deferred


def washed(trade: str, replacement: str, shares: str, usd: str) -> tuple:
    return trade, f"L-{trade}", replacement, D(shares), D(usd), D(0), 1, OWN_LAW


def bought_in_the_ira(warehouse: Warehouse, name: str, shares: str, on: date, security: str = "XYZ") -> None:
    row = {"transaction_id": name, "version": 1, "account_id": "ira", "kind": "trade", "side": "buy", "security_id": security,
           "quantity": D(shares), "price_usd": D(100), "fee_usd": D(0), "amount_usd": D(-100) * D(shares), "traded_on": on,
           "traded_at": None, "lots": "", "details": "{}", "delivery_id": "d", "known_at": NOW, "payload_hash": "h"}  # fmt: skip
    exact = {"traded_at": pl.Time, "amount_usd": USD}
    warehouse.append("ledger.transactions", pl.DataFrame([row], schema_overrides=exact))


def cannot_buy(warehouse: Warehouse, columns: str = "account_id, security_id, quantity, loss_usd, is_for_good") -> list:
    return warehouse.rows(f"SELECT {columns} FROM mart.cannot_buy_today ORDER BY ALL").rows()


def cannot_sell(warehouse: Warehouse, columns: str = "account_id, purchase_id, quantity, is_for_good") -> list:
    return warehouse.rows(f"SELECT {columns} FROM mart.cannot_sell_at_a_loss_today ORDER BY ALL").rows()


# What may not be bought -------------------------------------------------------------------------------


def test_a_loss_bars_the_security_in_every_account_and_in_an_ira_for_good(warehouse):
    fill(warehouse, disposals=[sold("S", "100", "9000", "10000")])
    assert cannot_buy(warehouse) == [
        ("ira", "XYZ", 100, 1000, True),
        ("joint", "XYZ", 100, 1000, False),
        ("other", "XYZ", 100, 1000, False),
    ]
    assert set(cannot_buy(warehouse, "trade_id, sold_account_id, sold_on, citation")) == {
        ("S", "joint", SALE_ON, IRA_LAW),
        ("S", "joint", SALE_ON, OWN_LAW),
    }
    assert (
        "joint sold XYZ on 2025-06-16 (S): $1000.00 of loss would be gone for good by a purchase in ira up to 2025-07-16",
    ) in cannot_buy(warehouse, "reason")


@pytest.mark.parametrize(("day", "is_barred"), [(0, True), (29, True), (30, True), (31, False)])
def test_day_30_is_the_last_barred_one_and_on_day_31_it_may_be_bought(warehouse, day, is_barred):
    fill(warehouse, around(day), disposals=[sold("S", "100", "9000", "10000")])
    assert bool(cannot_buy(warehouse)) is is_barred
    if is_barred:
        assert set(cannot_buy(warehouse, "until_on")) == {(around(30),)}


def test_a_gain_bars_nothing_and_neither_does_a_loss_that_is_replaced_whole(warehouse):
    fill(
        warehouse,
        disposals=[sold("G", "10", "1100", "1000"), sold("S", "10", "900", "1000", washed="100")],
        wash_sales=[washed("S", "R", "10", "100")],
    )
    assert cannot_buy(warehouse) == []


def test_of_a_loss_that_is_replaced_in_part_the_rest_is_at_stake(warehouse):
    fill(
        warehouse,
        disposals=[sold("S", "100", "9000", "10000", washed="400")],
        wash_sales=[washed("S", "R-1", "25", "250"), washed("S", "R-2", "15", "150")],
    )
    assert ("joint", "XYZ", 60, 600, False) in cannot_buy(warehouse)


def test_slices_of_one_lot_are_counted_once(warehouse):
    parts = [
        sold("S", "60", "5400", "6000", washed="200", lot="L-S"),
        sold("S", "40", "3600", "4000", lot="L-S", slice=2),
    ]
    fill(warehouse, disposals=parts, wash_sales=[washed("S", "R", "20", "200")])
    assert ("joint", "XYZ", 80, 800, False) in cannot_buy(warehouse)


def test_what_is_identical_is_barred_too_and_another_fund_on_the_index_says_so(warehouse):
    groups = [("GOOG", "alphabet", "identical"), ("GOOGL", "alphabet", "identical"),
              ("GOOG", "alphabet", "same index"), ("GOOGL", "alphabet", "same index"),
              ("SPY", "index S&P 500", "same index"), ("IVV", "index S&P 500", "same index")]  # fmt: skip
    losses = [sold("S-1", "10", "900", "1000", security="GOOG"), sold("S-2", "10", "800", "1000", security="SPY")]
    fill(warehouse, disposals=losses, identical=groups)
    barred = {(security, tier) for security, tier in cannot_buy(warehouse, "security_id, tier")}
    assert barred == {
        ("GOOG", "identical"), ("GOOGL", "identical"), ("SPY", "identical"), ("IVV", "same index"),
    }  # fmt: skip
    doubts = [reason for reason, tier in cannot_buy(warehouse, "reason, tier") if tier == "same index"]
    assert len(doubts) == 3 and all(said.endswith("if funds on one index count as identical") for said in doubts)


# What may not be sold at a loss -----------------------------------------------------------------------


def test_shares_bought_by_anyone_in_the_last_30_days_wash_a_loss_until_the_day_that_is_named(warehouse):
    bought_in_the_ira(warehouse, "I-1", "25", around(-10))
    fill(
        warehouse,
        lots=[
            lot("old", "100", date(2024, 5, 1)),
            lot("new", "40", around(-5), "other"),
            lot("I-1", "5", around(-10), "ira"),
        ],
    )
    assert cannot_sell(warehouse) == [
        ("joint", "I-1", 25, True),  # in full, held or not
        ("joint", "new", 40, False),
        ("other", "I-1", 25, True),  # and not by the old lot: it was bought long ago
    ]
    assert set(cannot_sell(warehouse, "purchase_id, citation")) == {("I-1", IRA_LAW), ("new", OWN_LAW)}
    assert set(cannot_sell(warehouse, "purchase_id, until_on")) == {("I-1", around(20)), ("new", around(25))}
    assert (
        "ira bought XYZ on 2025-06-06 (I-1): the loss of 25 shares would be gone for good if sold up to 2025-07-06",
    ) in cannot_sell(warehouse, "reason")


@pytest.mark.parametrize(("day", "is_washed"), [(0, True), (30, True), (31, False)])
def test_a_sale_is_clean_on_day_31_after_the_purchase(warehouse, day, is_washed):
    fill(warehouse, around(day), lots=[lot("old", "100", date(2024, 5, 1)), lot("new", "40", around(0))])
    assert bool(cannot_sell(warehouse)) is is_washed


def test_a_lot_does_not_wash_its_own_sale_and_no_more_than_the_other_shares_are_concerned(warehouse):
    fill(warehouse, lots=[lot("only", "40", around(-5))])
    assert cannot_sell(warehouse) == []
    fill(warehouse, lots=[lot("few", "15", date(2024, 5, 1)), lot("new", "40", around(-5))])
    assert cannot_sell(warehouse) == [("joint", "new", 15, False)]


def test_shares_that_have_replaced_a_loss_do_not_replace_another(warehouse):
    bought_in_the_ira(warehouse, "I-1", "25", around(-10))
    fill(
        warehouse,
        lots=[
            lot("old", "100", date(2024, 5, 1)),
            lot("new", "30", around(-5), since=date(2024, 2, 1)),
            lot("new", "10", around(-5), n=2),
        ],
        wash_sales=[washed("S", "I-1", "25", "250"), washed("S", "new", "30", "300")],
    )
    assert cannot_sell(warehouse) == [("joint", "new", 10, False)]


def test_what_is_known_to_come_is_named_as_not_made(warehouse):
    fill(
        warehouse,
        lots=[lot("old", "100", date(2024, 5, 1))],
        coming=[("payroll-1-2025-07-01", "spouse 401(k)", "XYZ", D(3), D(300), date(2025, 7, 1), True)],
    )
    assert cannot_sell(warehouse, "purchase_id, quantity, until_on, is_made, is_for_good") == [
        ("payroll-1-2025-07-01", 3, date(2025, 7, 31), False, True)
    ]
    [(reason,)] = cannot_sell(warehouse, "reason")
    assert reason.startswith("spouse 401(k) is to buy XYZ on 2025-07-01 (payroll-1-2025-07-01)")


def test_the_view_says_what_the_engine_does(warehouse):
    """Sold whole but for the purchase itself, as many shares are washed as the view names."""
    bought_in_the_ira(warehouse, "I-1", "25", around(-10))
    fill(
        warehouse,
        lots=[lot("old", "100", date(2024, 5, 1)), lot("new", "40", around(-5), "other")],
        coming=[("plan", "other", "XYZ", D(7), D(700), around(9), False)],
    )

    def buy(name: str, shares: int, on: date, account: str) -> Trade:
        return Trade(name, account, "XYZ", True, shares * 10**9, shares * 10_000, on, None, account == "ira")

    sale = Trade("sale", "joint", "XYZ", False, 100 * 10**9, 1, SALE_ON, None, False)
    year = Year(Rates(D("0.3"), D("0.2"), D("0.3"), D(3000)), D(0), D(0))
    events = [
        buy("old", 100, date(2024, 5, 1), "joint"),
        buy("new", 40, around(-5), "other"),
        buy("I-1", 25, around(-10), "ira"),
    ]
    matches = effects(events, [sale], [buy("plan", 7, around(9), "other")], Rules(), year)["sale"].matches
    said = [row for row in cannot_sell(warehouse) if row[0] == "joint"]
    assert {(m.purchase.trade_id, D(m.quantity) / 10**9, bool(m.permanent)) for m in matches} == {
        row[1:] for row in said
    }


# What is known to come --------------------------------------------------------------------------------

HARVESTS = {("taxable-picked", "HD"), ("taxable-picked", "MSFT"), ("taxable-picked", "BAC"), ("taxable-picked", "KO"),
            ("taxable-fifo", "BAC")}  # fmt: skip
PAYROLL = """
[[future]]
account = "roth-spouse"
security = "MSFT"
kind = "payroll"
amount_usd = 500
every = "month"
first = 2022-01-28

[[future]]
account = "ira"
security = "HD"
kind = "order"
quantity = 0.01
on = 2022-11-16

[[future]]
account = "ira"
security = "BAC"
kind = "vesting"
quantity = 100
on = 2022-11-17
"""
UNLINKED = """
[[unlinked]]
name = "Spouse 401(k)"
type = "401k"
owner = "spouse"
can_hold = ["KO", "VTI"]
"""


def harvests(house) -> set[tuple[str, str]]:
    return set(house.ask("SELECT account_id, security_id FROM core.proposals WHERE NOT is_refused"))


def test_a_purchase_that_is_known_to_come_refuses_the_harvest_that_it_would_wash_and_no_other(day_before):
    day_before.add("portfolio.toml", *PAYROLL.splitlines())
    text = day_before.run(DAY)
    assert harvests(day_before) == HARVESTS - {("taxable-picked", "MSFT")}
    [(reason, lost)] = day_before.ask("SELECT reason, permanent_usd FROM core.proposals WHERE security_id = 'MSFT'")
    assert "roth-spouse buys" in reason and "(payroll-2-2022-10-28, known and not booked yet), 11 days after" in reason
    assert lost > 50 and reason in text
    [(reason, washed)] = day_before.ask("SELECT reason, disallowed_usd FROM core.proposals WHERE security_id = 'HD'")
    assert 0 < washed < 50, "a hundredth of a share on the last day of the window vetoes nothing"
    assert "30 days after" in reason and reason.endswith("the limits let it pass")
    assert day_before.ask("SELECT DISTINCT security_id FROM core.coming ORDER BY 1") == [("HD",), ("LLY",), ("MSFT",)]
    [(until_on, made)] = day_before.ask(
        "SELECT max(until_on), bool_or(is_made) FROM mart.cannot_sell_at_a_loss_today WHERE purchase_id LIKE 'payroll-2-%'"
    )
    assert (until_on, made) == (date(2022, 11, 27), False)
    assert not day_before.ask("SELECT 1 FROM mart.orders WHERE status = 'refused'"), "and the gate agrees"


def test_the_gate_asks_the_same_check_of_a_batch_that_was_decided_before_the_plan_was_known(day_before):
    (day_before.folder / "STOP").touch()
    day_before.run(DAY)
    day_before.add("portfolio.toml", *PAYROLL.splitlines())
    settings = day_before.settings()
    with writer(settings.warehouse) as warehouse:
        lines = [
            Line(*row)
            for row in warehouse.rows(
                "SELECT l.batch_id, l.line, l.pair, b.account_id, b.session_on, l.side, l.security_id, l.quantity, "
                "l.price_usd, l.lots, b.mode FROM ledger.batch_lines AS l JOIN ledger.batches AS b USING (batch_id)"
            ).iter_rows()
        ]
        refused = held_back_by_gates(warehouse, day_of(settings, DAY, NOW), lines, FILL)
    name = {line.key: line.security_id for line in lines}
    washed = [(name[row.batch_id, row.line], row.reason) for row in refused if row.gate == "wash_sale"]
    assert [security for security, _ in washed] == ["MSFT"] and "payroll-2-2022-10-28" in washed[0][1]


def test_the_demo_knows_of_a_purchase_to_come_until_it_is_booked(day_after):
    assert day_after.ask("SELECT trade_id, account_id, security_id, quantity FROM core.coming") == [
        ("recurring-1-2022-10-28", "roth-spouse", "LLY", 4)
    ]
    day_after.run(date(2022, 10, 28))
    assert day_after.ask("SELECT * FROM core.coming") == []
    assert day_after.ask("SELECT purchase_account_id, is_made FROM mart.cannot_sell_at_a_loss_today "
                         "WHERE bought_id = 'LLY' AND account_id = 'taxable-fifo'") == [("roth-spouse", True)]  # fmt: skip


def test_an_order_to_buy_that_is_open_counts_with_what_is_left_until_it_ends(day_before):
    settings = day_before.settings()
    day = day_of(settings, DAY, NOW)
    batch = ("b", "ira", FILL, NOW, DAY, "daily", 1, "h", "auto", "", "r", NOW)
    line = ("b", 1, 1, "harvest", "buy", "HD", D(10), D(270), "", D(0), D(0), "", "", "")
    with writer(settings.warehouse) as warehouse:

        def orders() -> list[Trade]:
            return [one for one in known(warehouse, day, FILL).coming if one.security_id == "HD"]

        warehouse.append("ledger.batches", named(warehouse, "batches", batch))
        warehouse.append("ledger.batch_lines", named(warehouse, "batch_lines", line))
        warehouse.add("ledger.intents", ("b.1.1", "b", 1, 1, D(10), None, None, "", NOW))
        seen = orders()
        assert [(one.trade_id, one.account_id, one.quantity, one.traded_on) for one in seen] == [
            ("b.1.1", "ira", 10 * 10**9, FILL)
        ]
        warehouse.add("ledger.order_events", ("b.1.1", "accepted", "", D(0), "", NOW))
        assert len(orders()) == 1
        warehouse.add("ledger.order_events", ("b.1.1", "fill", "f", D(4), "", NOW))
        assert [one.quantity for one in orders()] == [6 * 10**9], "what is left of it"
        warehouse.add("ledger.order_events", ("b.1.1", "canceled", "", D(4), "", NOW))
        assert orders() == []


def named(warehouse: Warehouse, table: str, row: tuple) -> pl.DataFrame:
    """A row under the first columns of a table of the ledger, in the order in which the test says them."""
    columns = {
        "batches": "batch_id account_id session_on expires_at as_of kind sequence batch_hash mode replaces run_id decided_at",
        "batch_lines": "batch_id line pair method side security_id quantity price_usd lots loss_usd tax_saved_usd reason "
        "intended_lots relieved_lots",
    }[table].split()
    exact = {name: USD for name in ("loss_usd", "tax_saved_usd") if name in columns}
    return pl.DataFrame([dict(zip(columns, row, strict=True))], schema_overrides=exact)


def test_a_reinvestment_is_about_the_last_dividend_and_one_that_nobody_can_size_stops_its_harvest(day_before):
    paid = day_before.ask(
        "SELECT amount_usd FROM stg.transactions WHERE kind = 'dividend' AND security_id = 'KO' "
        "AND account_id = 'taxable-picked' ORDER BY traded_on DESC LIMIT 1"
    )
    for account, security in (("taxable-picked", "KO"), ("roth-spouse", "MSFT")):
        day_before.add(
            "portfolio.toml", "[[future]]", f'account = "{account}"', f'security = "{security}"', 'kind = "reinvestment"',
            'every = "quarter"', "first = 2022-01-31",
        )  # fmt: skip
    assert not day_before.ask(
        "SELECT 1 FROM stg.transactions WHERE kind = 'dividend' AND account_id = 'roth-spouse' AND security_id = 'MSFT'"
    )
    day_before.run(DAY)
    assert day_before.ask("SELECT trade_id, amount_usd FROM core.coming WHERE trade_id LIKE 'reinv%'") == [
        ("reinvestment-2-2022-10-31", *paid[0])
    ]
    assert harvests(day_before) == HARVESTS - {("taxable-picked", "MSFT")}
    [(reason,)] = day_before.ask("SELECT reason FROM core.proposals WHERE security_id = 'MSFT'")
    assert "nobody can tell how many shares: say quantity or amount_usd" in reason


# Likeness ---------------------------------------------------------------------------------------------


def test_three_funds_on_one_index_are_never_each_others_replacement(day_before):
    day_before.add(
        "portfolio.toml", "[same_index]", 'HD = "retail"', 'BBY = "retail"', 'MSFT = "tech"', 'AAPL = "tech"'
    )
    day_before.run(DAY)
    pairs = day_before.ask("SELECT security_id, replacement_id FROM core.proposals WHERE replacement_id <> ''")
    assert {("HD", "BBY"), ("MSFT", "AAPL")}.isdisjoint(pairs)
    [(reason,)] = day_before.ask("SELECT reason FROM core.proposals WHERE security_id = 'HD'")
    assert reason.startswith("no replacement"), "BBY was the only other one of its sector"
    assert dict(pairs)["MSFT"] == "AMD"


def test_a_fund_on_the_same_index_bought_by_the_spouse_refuses_the_harvest(day_before):
    day_before.add("portfolio.toml", "[same_index]", 'JPM = "banks"', 'BAC = "banks"')
    day_before.run(DAY)
    refused = day_before.ask("SELECT reason FROM core.proposals WHERE security_id = 'BAC' AND is_refused")
    assert refused and any(
        "if funds on the same index" in said and "roth-spouse bought 60 JPM" in said for (said,) in refused
    )
    assert not day_before.ask("SELECT 1 FROM core.wash_sales WHERE replacement_lot_id = 'R-0106'"), "the books do not"


# Accounts that nobody sees ----------------------------------------------------------------------------


def test_an_account_that_is_not_linked_lowers_the_confidence_of_what_it_can_hold_and_says_so(day_before):
    day_before.edit("portfolio.toml", "linked = true ", "linked = false ")
    day_before.add("portfolio.toml", *UNLINKED.splitlines())
    text = day_before.run(DAY)
    assert harvests(day_before) == HARVESTS, "it refuses nothing"
    rows = day_before.ask(
        "SELECT security_id, confidence, unlinked, reason FROM mart.harvest_candidates WHERE NOT is_refused"
    )
    assert {row[0] for row in rows if row[1] == "lowered"} == {"KO"}
    [(unlinked, reason)] = [row[2:] for row in rows if row[0] == "KO"]
    assert unlinked == "Spouse 401(k)" and "confidence lowered: not linked and could wash it unseen: Spouse" in reason
    assert (
        "confidence is lowered: Spouse 401(k) (401k of spouse, holds KO, VTI only) is not linked; "
        "a purchase there could wash 1 of 5 harvests unseen" in text
    )
    settings = day_before.settings()
    with writer(settings.warehouse) as warehouse:
        page = report(warehouse, settings, 2022, DAY).read_text()
    assert "A purchase in Spouse 401(k) (401k of spouse, holds KO, VTI only) can wash a loss unseen" in page
    assert "confidence lowered by accounts that are not linked" in page


def test_a_plan_of_an_account_that_is_not_linked_counts_on_both_sides_of_the_sale(day_before):
    day_before.edit("portfolio.toml", "linked = true ", "linked = false ")
    day_before.add(
        "portfolio.toml", *UNLINKED.splitlines(), "[[future]]", 'account = "Spouse 401(k)"', 'security = "KO"',
        'kind = "payroll"', "amount_usd = 400", 'every = "month"', "first = 2022-01-03",
    )  # fmt: skip
    day_before.run(DAY)
    [(reason, lost)] = day_before.ask("SELECT reason, permanent_usd FROM core.proposals WHERE security_id = 'KO'")
    assert "Spouse 401(k) buys" in reason and "14 days before" in reason and "17 days after" in reason
    assert lost > 50


def portfolio(**given) -> Portfolio:
    account = {
        "id": "joint",
        "name": "Joint",
        "type": "taxable",
        "owner": "joint",
        "broker": "simulated",
        "activities": "x",
    }
    household = {"name": "H", "filing_status": "mfj", "taxable_income_usd": 1, "linked": given.pop("linked", True)}
    return Portfolio.model_validate(
        {"household": household, "prices": {"source": "skfolio"}, "accounts": [account], **given}
    )


def test_a_household_that_is_not_linked_and_names_no_account_has_one_that_may_hold_anything():
    assert portfolio().not_linked == ()
    assert portfolio(linked=False).not_linked == (NOT_LISTED,) and NOT_LISTED.can_hold == ()
    one = {"name": "401(k)", "type": "401k", "owner": "self"}
    assert [account.name for account in portfolio(linked=False, unlinked=[one]).not_linked] == ["401(k)"]


ONCE = {"account": "joint", "security": "XYZ", "kind": "order", "quantity": 1, "on": "2025-01-02"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"unlinked": [{"name": "401(k)", "type": "401k", "owner": "self"}]}, "set it to false"),
        ({"linked": False, "unlinked": [{"name": "401(k)", "type": "pension", "owner": "self"}]}, "is not one of"),
        ({"future": [{**ONCE, "account": "nobody"}]}, "names accounts that are not listed: nobody"),
        ({"future": [{**ONCE, "amount_usd": 5}]}, "not both"),
        ({"future": [{**ONCE, "quantity": None}]}, "say how much"),
        ({"future": [{**ONCE, "every": "month"}]}, "say when"),
        ({"future": [{**ONCE, "on": None}]}, "say when"),
        ({"future": [{**ONCE, "on": None, "every": "month"}]}, "say when"),
    ],
)
def test_a_plan_or_an_account_that_cannot_be_read_says_what_to_do(given, said):
    with pytest.raises(ValueError, match=said):
        portfolio(**given)


def test_the_books_match_in_the_index_where_the_household_answers_so_and_a_harvest_keeps_clear_in_any_case():
    one = {"identical": {"VFIAX": "VOO"}, "same_index": {"VOO": "S&P 500", "SPY": "S&P 500"}}
    apart, together = portfolio(**one), portfolio(**one, law_policy={"same_index_washes": "true"})
    assert apart.groups == {"VFIAX": "VOO"} and together.groups == apart.cautious_groups == together.cautious_groups
    assert len({together.groups[fund] for fund in ("VFIAX", "VOO", "SPY")}) == 1


def test_the_limits_are_in_cents():
    gates = {"max_washed_usd": 12.34, "max_permanent_usd": 0, "max_washed_rate": 0.01}
    assert portfolio(gates=gates).wash_limits == (1234, D("0.01"), 0, False)
    assert portfolio().wash_limits == (5000, D("0.02"), 5000, False)
