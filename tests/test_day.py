"""The whole day without Prefect: what it books, decides, orders, refuses and says, also when things go wrong.

Expected figures come from the household's CSV files and the bundled prices, by arithmetic that is not the engine's.
"""

import csv
import gzip
import importlib.util
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

import flows.demo
from flows import cli
from flows.daily import backfill, final
from flows.doctor import examine
from flows.settings import SettingsError, load
from transforms.law import LawMissing
from warehouse.checks import UnbalancedBooks

DEMO = Path(flows.demo.__file__).parent
DAY, FILL, NEXT = date(2022, 10, 14), date(2022, 10, 17), date(2022, 10, 18)
TAXABLE = ("taxable-fifo", "taxable-picked")
ACCOUNTS = (*TAXABLE, "ira", "roth-spouse")
STORED = ("transactions", "batches", "batch_lines", "intents", "order_events", "refusals", "lot_identifications")
HARVESTS = {
    ("taxable-picked", "HD"),
    ("taxable-picked", "MSFT"),
    ("taxable-picked", "BAC"),
    ("taxable-picked", "KO"),
    ("taxable-fifo", "BAC"),
}
CENT = Decimal("0.01")

# By hand ----------------------------------------------------------------------------------------------


@cache
def prices_on(day: date) -> dict[str, Decimal]:
    """The closes of a day, from the file that skfolio ships."""
    found = importlib.util.find_spec("skfolio")
    file = Path(found.origin).parent / "datasets" / "data" / "sp500_dataset.csv.gz"
    with gzip.open(file, "rt") as rows:
        [row] = [row for row in csv.DictReader(rows) if row["Date"] == str(day)]
    return {symbol: Decimal(price) for symbol, price in row.items() if symbol != "Date"}


@dataclass
class Lot:
    name: str
    account: str
    symbol: str
    bought_on: date
    quantity: Decimal
    basis: Decimal


def cents(amount: Decimal) -> Decimal:
    return amount.quantize(CENT, ROUND_HALF_UP)


def file_rows(name: str, folder: Path = DEMO) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def is_long(bought_on: date, sold_on: date) -> bool:
    return sold_on > bought_on.replace(year=bought_on.year + 1)


def books_by_hand(until: date) -> tuple[list[Lot], dict[str, Decimal]]:
    """Open lots of the taxable accounts, oldest first, and this year's results by term, after wash sales."""
    trades = [
        (date.fromisoformat(row["at"]), account, row)
        for account in ACCOUNTS
        for row in file_rows(account)
        if row["kind"] == "trade" and date.fromisoformat(row["at"]) <= until
    ]
    lots: list[Lot] = []
    carried: dict[str, Decimal] = defaultdict(Decimal)
    results = {"short": Decimal(0), "long": Decimal(0)}
    for at, account, row in sorted(trades, key=lambda trade: (trade[0], trade[2]["id"])):
        quantity, amount, symbol = Decimal(row["quantity"]), Decimal(row["amount_usd"]), row["symbol"]
        if account not in TAXABLE:
            continue
        if row["side"] == "buy":
            lots.append(Lot(row["id"], account, symbol, at, quantity, -amount + carried[row["id"]]))
            continue
        held = {lot.name: lot for lot in lots if (lot.account, lot.symbol) == (account, symbol)}
        told = [part.split(":") for part in row["lots"].split(";") if part]
        asked = [(name, Decimal(count)) for name, count in told] or [(lot.name, lot.quantity) for lot in held.values()]
        left = quantity
        for name, available in asked:
            taken, lot = min(left, available), held[name]
            basis = cents(lot.basis * taken / lot.quantity) if taken else Decimal(0)
            gain = cents(amount * taken / quantity) - basis
            left, lot.quantity, lot.basis = left - taken, lot.quantity - taken, lot.basis - basis
            if gain < 0:
                near = [
                    (where, other["id"], Decimal(other["quantity"]))
                    for day, where, other in trades
                    if other["side"] == "buy" and other["symbol"] == symbol and abs((day - at).days) <= 30
                    and other["id"] not in dict(asked)
                ]  # fmt: skip
                for where, other, bought in near:
                    washed = cents(-gain * min(bought, taken) / taken)
                    carried[other] += washed if where in TAXABLE else 0
                    gain += washed
            if at.year == until.year:
                results["long" if is_long(lot.bought_on, at) else "short"] += gain
    return [lot for lot in lots if lot.quantity], results


def losses_by_hand(day: date, min_usd: int, min_rate: str) -> dict[tuple[str, str, bool], tuple[Decimal, Decimal]]:
    """(account, symbol, whether the broker reaches it) -> short and long loss of the lots that pass a threshold."""
    held: dict[tuple[str, str], list[Lot]] = defaultdict(list)
    for lot in books_by_hand(day)[0]:
        held[lot.account, lot.symbol].append(lot)
    found = {}
    for (account, symbol), lots in held.items():
        loss = [lot.basis - cents(lot.quantity * prices_on(day)[symbol]) for lot in lots]
        is_worth = [
            usd > 0 and (usd >= min_usd or usd >= Decimal(min_rate) * lot.basis)
            for lot, usd in zip(lots, loss, strict=True)
        ]
        reach = is_worth.index(False) if account == "taxable-fifo" and False in is_worth else len(lots)
        for is_reached, part in ((True, slice(0, reach)), (False, slice(reach, None))):
            both = [Decimal(0), Decimal(0)]
            for lot, usd, worth in zip(lots[part], loss[part], is_worth[part], strict=True):
                both[is_long(lot.bought_on, session_after(day))] += usd if worth else 0
            if any(both):
                found[account, symbol, is_reached] = (both[0], both[1])
    return found


def session_after(day: date) -> date:
    return day + timedelta(days=3 if day.weekday() == 4 else 1)


def tax_by_hand(short: Decimal, long: Decimal) -> Decimal:
    """A joint return of 2022 with $210,000: 24 % and 15 %, no surtax below $250,000, and the state's 5 %."""
    net = short + long
    if net < 0:
        return Decimal("-0.29") * min(-net, Decimal(3000))
    if short < 0 or long < 0:
        return net * Decimal("0.20" if short < 0 else "0.29")
    return short * Decimal("0.29") + long * Decimal("0.20")


def printed_losses(text: str) -> dict[tuple[str, str, bool], Decimal]:
    """(account, symbol, whether the broker reaches it) -> loss, as the summary prints them."""
    said = re.findall(r"(\w+) in (taxable-\w+), (?:buy [\d.]+ \w+: )?a loss of \$([\d,.]+\d)(.*)", text)
    return {
        (account, symbol, "first in, first out" not in rest): Decimal(usd.replace(",", ""))
        for symbol, account, usd, rest in said
    }


def stored(house) -> dict[str, list[tuple]]:
    """Everything that the ledger holds but its runs."""
    return {table: sorted(house.ask(f"SELECT * FROM ledger.{table}"), key=str) for table in STORED}


def harvested(house, session_on: date) -> set[tuple[str, str]]:
    """What a session sold."""
    query = f"FROM mart.orders SELECT account_id, security_id WHERE session_on = '{session_on}' AND side = 'sell'"
    return set(house.ask(f"{query} AND status = 'filled'"))


# The default day --------------------------------------------------------------------------------------


def test_the_default_day_harvests_what_its_story_says(finished):
    assert harvested(finished, FILL) == HARVESTS
    pairs = finished.ask("SELECT account_id, security_id, replacement_id FROM core.proposals WHERE NOT is_refused")
    sector = {row["symbol"]: row["sector"] for row in file_rows("securities")}
    assert {pair[:2] for pair in pairs} == HARVESTS
    assert all(sector[sold] == sector[bought] and sold != bought for _, sold, bought in pairs)


def test_the_default_day_refuses_what_its_story_says(finished):
    refused = finished.ask("SELECT account_id, security_id, reason FROM core.proposals WHERE is_refused")
    said = {(account, symbol): reason for account, symbol, reason in refused}
    assert set(said) == {("taxable-fifo", "AMD"), ("taxable-fifo", "JPM"), ("taxable-picked", "GE")}
    assert "first in, first out" in said["taxable-fifo", "AMD"] and "2019-03-15" in said["taxable-fifo", "AMD"]
    jpm = said["taxable-fifo", "JPM"]
    assert all(word in jpm for word in ("$3,135.12 of it for good", "roth-spouse", "2022-09-26", "Rev. Rul. 2008-5"))
    assert said["taxable-picked", "GE"].startswith("no replacement")


def test_a_security_sold_at_a_loss_within_30_days_is_nobodys_replacement(finished):
    assert not finished.ask("SELECT 1 FROM core.proposals WHERE replacement_id = 'PEP'")
    [(until_on, quantity)] = finished.ask(
        "SELECT DISTINCT until_on, quantity FROM mart.cannot_buy_today WHERE security_id = 'PEP'"
    )
    assert (until_on, quantity) == (date(2022, 10, 30), 70)


def test_orders_fill_at_the_next_sessions_close_and_never_at_the_one_that_decided(finished):
    fills = finished.ask(
        "SELECT security_id, traded_on, price_usd, quantity, side, amount_usd FROM stg.transactions "
        "WHERE transaction_id LIKE 'fill-%'"
    )
    assert len(fills) == 2 * len(HARVESTS)
    for symbol, on, price, quantity, side, amount in fills:
        assert on == FILL
        assert price == cents(prices_on(FILL)[symbol]) != cents(prices_on(DAY)[symbol])
        assert amount == cents(quantity * price) * (1 if side == "sell" else -1)


def test_the_brokers_that_takes_lots_is_told_them_and_the_record_is_kept(finished):
    told = finished.ask("SELECT client_order_id, lots FROM ledger.lot_identifications")
    lots = {row["id"]: Decimal(row["quantity"]) for row in file_rows("taxable-picked") if row["side"] == "buy"}
    assert len(told) == 4 and all("taxable-picked" in order for order, _ in told)
    named = dict(part.split(":") for _, text in told for part in text.split(";"))
    assert {name: Decimal(count) for name, count in named.items()} == {name: lots[name] for name in named}
    sold = finished.ask("SELECT DISTINCT lot_id FROM core.disposals WHERE trade_id LIKE 'fill-%taxable-picked%'")
    assert {name for (name,) in sold} == set(named)


def test_the_finished_day_leaves_a_page_and_nobody_else_can_read_its_home(finished):
    assert finished.done.page.read_text().lstrip().lower().startswith("<!doctype html>")
    assert finished.home.stat().st_mode & 0o777 == 0o700


def test_the_printed_deferral_is_the_tax_without_the_harvests_less_the_tax_with_them(finished):
    loss = {"short": Decimal(0), "long": Decimal(0)}
    lots = {lot.name: lot for lot in books_by_hand(DAY)[0]}
    for account, symbol in HARVESTS:
        for lot in lots.values():
            if (lot.account, lot.symbol) == (account, symbol) and lot.basis > lot.quantity * prices_on(DAY)[symbol]:
                got = cents(lot.quantity * cents(prices_on(FILL)[symbol]))
                loss["long" if is_long(lot.bought_on, FILL) else "short"] += lot.basis - got
    before = books_by_hand(DAY)[1]
    after = {term: before[term] - loss[term] for term in before}
    saved = cents(tax_by_hand(**before) - tax_by_hand(**after))
    left = -sum(after.values()) - 3000
    text = finished.done.summary.plain()
    assert f"an estimated ${saved:,.2f} deferred so far" in text
    assert f"${sum(loss.values()):,.2f} of losses allowed, $0.00 disallowed, ${left:,.2f} left for later years" in text


# Again, and the day after -----------------------------------------------------------------------------


def test_the_same_day_again_changes_nothing_and_orders_nothing_even_under_another_policy(day_after):
    before, orders = stored(day_after), day_after.orders()
    day_after.edit("portfolio.toml", "min_loss_usd = 1000", "min_loss_usd = 50")
    text = day_after.run(DAY)
    assert stored(day_after) == before and day_after.orders() == orders
    assert ("taxable-picked", "PG", True) in printed_losses(text), "the new policy proposes more, the decision stands"
    sold = day_after.ask("SELECT DISTINCT account_id, security_id FROM core.disposals WHERE trade_id LIKE 'fill-%'")
    assert set(sold) == HARVESTS, "the books hold the fills as before"
    assert day_after.ask("SELECT * FROM core.breaks") == []


def test_the_final_flow_after_the_fills_changes_nothing(day_after):
    before, orders = stored(day_after), day_after.orders()
    assert final(day_after.settings()).as_of == DAY
    assert stored(day_after) == before and day_after.orders() == orders


def test_the_day_after_books_the_fills_once_and_finds_no_differences(day_after):
    filled = "SELECT * EXCLUDE (known_at) FROM stg.transactions WHERE transaction_id LIKE 'fill-%' ORDER BY ALL"
    before = day_after.ask(filled)
    day_after.run(FILL)
    assert day_after.ask(filled) == before
    assert day_after.ask("SELECT count(*) FROM ledger.transactions WHERE transaction_id LIKE 'fill-%'") == [(10,)]
    assert day_after.ask("SELECT * FROM core.breaks") == []
    assert len(day_after.orders()) == 10 and harvested(day_after, NEXT) == set()
    assert day_after.ask("SELECT DISTINCT booked_to FROM core.accounts") == [(FILL,)], "the books are of the day"


def test_an_earlier_day_is_booked_as_it_was_and_nothing_is_decided_on_it(day_after):
    before = stored(day_after)
    day_after.run(date(2022, 10, 13))
    assert stored(day_after) == before and len(day_after.orders()) == 10
    assert not day_after.ask("SELECT 1 FROM core.disposals WHERE trade_id LIKE 'fill-%'")
    [(quantity,)] = day_after.ask(
        "SELECT sum(quantity) FROM core.lots WHERE account_id = 'taxable-picked' AND security_id = 'KO' "
        "AND acquired_on = '2022-04-26'"
    )
    assert quantity == 150


def test_after_downtime_every_session_is_booked_in_order_and_only_the_latest_is_decided(day_after, capsys):
    text = day_after.run(date(2022, 10, 20))
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("booking ")]
    assert told[0] == "booking 2022-10-17: session 1 of 4" and len(told) == 4
    runs = day_after.ask("SELECT as_of FROM ledger.runs WHERE stage = 'booked' ORDER BY reached_at")
    assert [on for (on,) in runs] == [date(2022, 10, day) for day in (14, 17, 18, 19, 20)]
    assert set(day_after.ask("SELECT as_of, session_on FROM ledger.batches")) == {
        (DAY, FILL),
        (date(2022, 10, 20), date(2022, 10, 21)),
    }
    assert "Thursday 2022-10-20 (orders for 2022-10-21)" in text
    assert day_after.ask("SELECT * FROM core.breaks") == []
    assert day_after.ask("SELECT count(*) FROM mart.set_aside") == [(0,)]


def test_backfill_books_and_never_decides_or_orders(booked):
    assert booked.ask("SELECT DISTINCT as_of FROM ledger.runs WHERE stage = 'booked' ORDER BY 1") == [
        (date(2022, 10, 12),),
        (date(2022, 10, 13),),
    ]
    assert not booked.ask("SELECT 1 FROM ledger.runs WHERE stage NOT IN ('started', 'booked')")
    for table in ("batches", "intents", "order_events"):
        assert booked.ask(f"SELECT * FROM ledger.{table}") == []
    assert not booked.journal.exists()
    assert len(booked.ask("SELECT DISTINCT account_id FROM core.lots")) == 4


def test_backfill_over_a_weekend_knows_its_sessions(booked):
    assert backfill(booked.settings(), date(2022, 10, 8), date(2022, 10, 9)) == 0


# The day and the thresholds ---------------------------------------------------------------------------


MOVES = [  # as_of, min_loss_usd, min_loss_rate
    (date(2022, 9, 30), 1000, "0.05"),
    (DAY, 5000, "0.30"),
    (DAY, 50, "0.05"),
    (date(2022, 10, 26), 1000, "0.05"),
]


@pytest.mark.parametrize(("day", "min_usd", "min_rate"), MOVES)
def test_the_printed_losses_and_savings_follow_the_day_and_the_thresholds(house, day, min_usd, min_rate):
    house.edit("portfolio.toml", "min_loss_usd = 1000", f"min_loss_usd = {min_usd}")
    house.edit("portfolio.toml", "min_loss_rate = 0.05", f"min_loss_rate = {min_rate}")
    assert_printed_as_by_hand(house, house.run(day), day, min_usd, min_rate)


def test_the_printed_losses_and_savings_of_the_default_day_are_those_by_hand(finished):
    assert_printed_as_by_hand(finished, finished.done.summary.plain(), DAY, 1000, "0.05")


def assert_printed_as_by_hand(house, text: str, day: date, min_usd: int, min_rate: str) -> None:
    by_hand = losses_by_hand(day, min_usd, min_rate)
    assert printed_losses(text) == {key: short + long for key, (short, long) in by_hand.items()}
    before = books_by_hand(day)[1]
    after = dict(before)
    for account, symbol in harvested(house, session_after(day)):
        short, long = by_hand[account, symbol, True]
        after = {"short": after["short"] - short, "long": after["long"] - long}
    saved = [Decimal(usd.replace(",", "")) for usd in re.findall(r"saves \$([\d,]+\.\d\d) of tax this year", text)]
    assert sum(saved) == cents(tax_by_hand(**before) - tax_by_hand(**after))
    [jpm] = [line for line in text.splitlines() if re.search(r" JPM in taxable-fifo, .*a loss", line)]
    assert ("Rev. Rul. 2008-5" in jpm) == (session_after(day) - date(2022, 9, 26) <= timedelta(days=30))


def test_moving_the_day_and_the_thresholds_does_make_a_difference():
    found = [losses_by_hand(*move) for move in (*MOVES, (DAY, 1000, "0.05"))]
    assert len({frozenset(losses.items()) for losses in found}) == len(found)
    assert len({frozenset(losses) for losses in found}) >= 4, "and not in the amounts alone"


# Sources that are old, down or odd --------------------------------------------------------------------


def by_statements(house, *positions: str) -> None:
    """Let the Roth IRA be known by its statements only."""
    house.edit("portfolio.toml", 'owner = "spouse"\nbroker = "simulated"', 'owner = "spouse"\nbroker = "statements"')
    roth = 'activities = "roth-spouse.csv"\n'
    house.edit("portfolio.toml", roth, f'{roth}positions = "roth-positions.csv"\n')
    (house.folder / "roth-positions.csv").write_text("\n".join(("symbol,quantity,as_of", *positions, "")))


def test_a_stale_statement_stops_every_harvest_it_could_wash_until_a_newer_one_comes(day_before):
    by_statements(day_before, "JPM,60,2022-09-30")
    text = day_before.run(DAY)
    assert day_before.orders() == [] and harvested(day_before, FILL) == set()
    refused = day_before.ask("SELECT account_id, security_id, reason FROM core.proposals WHERE is_refused")
    old = "activities of roth-spouse speak to 2022-09-30, 14 days ago (limit 5): bring its newer statement"
    could_be_washed = {(account, symbol) for account, symbol, reason in refused if old in reason}
    assert could_be_washed == HARVESTS | {("taxable-picked", "GE")}
    assert old in text.split("Look at")[1], "the summary names the statement"

    roth = 'activities = "roth-spouse.csv"\n'
    day_before.edit("portfolio.toml", roth, f'{roth}can_hold = ["HD"]\n')
    text = day_before.run(FILL)
    assert harvested(day_before, NEXT) == HARVESTS - {("taxable-picked", "HD")}, "it can hold HD and nothing else"
    [(reason,)] = day_before.ask("SELECT reason FROM core.proposals WHERE security_id = 'HD' AND is_refused")
    assert "roth-spouse speak to 2022-09-30, 17 days ago" in reason

    held = day_before.ask(
        "SELECT security_id, sum(quantity) FROM core.lots WHERE account_id = 'roth-spouse' GROUP BY 1 "
        "UNION ALL SELECT 'USD', cash_usd FROM mart.cash WHERE account_id = 'roth-spouse'"
    )
    day_before.add("roth-positions.csv", *(f"{symbol},{quantity},2022-10-18" for symbol, quantity in held))
    text = day_before.run(NEXT)
    assert harvested(day_before, date(2022, 10, 19)) == {("taxable-picked", "HD")}
    assert "bring its newer statement" not in text and day_before.ask("SELECT * FROM core.breaks") == []


def test_one_source_down_the_rest_books_and_its_account_takes_no_orders(day_before):
    lots = "SELECT * FROM core.lots WHERE account_id = 'taxable-fifo' ORDER BY ALL"
    before = day_before.ask(lots)
    (day_before.folder / "taxable-fifo.csv").unlink()
    (day_before.folder / "bank.csv").unlink()
    fifo = 'activities = "taxable-fifo.csv"\n'
    day_before.edit("portfolio.toml", fifo, f'{fifo}can_hold = ["XOM"]\n')  # so that it cannot wash what is harvested
    text = day_before.run(DAY)
    assert harvested(day_before, FILL) == {pair for pair in HARVESTS if pair[0] == "taxable-picked"}
    assert all('"taxable-picked"' in order for order in day_before.orders())
    refused = day_before.ask(
        "SELECT l.side, l.security_id, r.reason FROM ledger.refusals AS r JOIN ledger.batch_lines AS l USING (batch_id, line) "
        "JOIN ledger.batches AS b USING (batch_id) WHERE r.gate = 'source' AND b.account_id = 'taxable-fifo'"
    )
    assert {row[:2] for row in refused} == {("sell", "BAC"), ("buy", "JPM")}
    assert all("taxable-fifo.csv cannot be read" in reason for *_, reason in refused)
    look = text.split("Look at")[1]
    assert "taxable-fifo.csv cannot be read" in look and "bank.csv cannot be read" in look
    assert day_before.ask(lots) == before, "what was known of it stays booked"
    unsound = day_before.ask("SELECT source, kind FROM core.source_status WHERE NOT is_sound ORDER BY ALL")
    assert unsound == [
        ("business-checking", "bank_lines"),
        ("taxable-fifo", "activities"),
        ("taxable-fifo", "positions"),
    ]


def test_what_an_outage_kept_from_being_decided_is_decided_when_it_is_over(day_before):
    file = day_before.folder / "taxable-fifo.csv"
    text = file.read_text()
    file.unlink()
    day_before.run(DAY)
    assert not harvested(day_before, FILL), "a purchase there, which nobody saw, could wash any harvest"
    assert not day_before.ask("SELECT batch_id FROM ledger.batches")
    file.write_text(text)
    day_before.run(DAY)
    assert harvested(day_before, FILL) == HARVESTS


BAD = {  # the row, and the words of the reason why it cannot be used
    "X-1,2022-10-14,trade,buy,WMT,1,-55.00,0,55.00,,": "price_usd is negative",
    "X-2,2022-10-14,trade,buy,WMT,NaN,55.00,0,-55.00,,": "quantity is missing or cannot be read",
    "X-3,2022-10-14,trade,buy,ZZZZ,1,10.00,0,-10.00,,": "unknown symbol ZZZZ",
    "X-4,2022-10-14,trade,sell,WMT,100000,55.00,0,5500000.00,,": "oversell: ira holds",
    "X-5,2022-10-14,deposit,,,,,,200.00,,the same id again": "its id stands in this delivery already",
    "X-6,2999-01-04,deposit,,,,,,100.00,,": "the date lies in the future",
    "X-7,2022-10-14,trade,buy,WMT,0.1234567891,55.00,0,-6.79,,": "more decimals than the ledger keeps",
    "X-8,14/10/2022,deposit,,,,,,100.00,,": "traded_on is missing or cannot be read",
    "P-0001,2022-10-14,deposit,,,,,,100.00,,": "its id is a transaction of taxable-picked already",
    "X-9,2022-10-14,deposit,,,,,,100.00,,a note, with commas": "the row has more fields than the header",
}


def test_bad_rows_are_set_aside_with_their_reasons_and_the_good_rows_go_on(day_before):
    good = "X-5,2022-10-14,deposit,,,,,,100.00,,the good row"
    day_before.add("ira.csv", good, *BAD)
    day_before.add("bank.csv", "B-0001,2022-10-14,THE SAME ID AGAIN,-1.00,0")
    text = day_before.run(DAY)

    aside = day_before.ask("SELECT source, payload ->> 'id', reason FROM mart.set_aside WHERE kind = 'activities'")
    said = {name: reason for _, name, reason in aside}
    assert len(aside) == len(BAD) and {source for source, *_ in aside} == {"ira"}
    look = text.split("Look at")[1]
    first_line = len((DEMO / "ira.csv").read_text().splitlines()) + 2
    for number, (line, words) in enumerate(BAD.items(), first_line):
        assert words in said[line.split(",")[0]]
        assert re.search(rf"activities of ira, line {number}: .*{re.escape(words)}", look), number
    assert "11 rows set aside" in text and "bank_lines of business-checking" in look
    assert day_before.ask("SELECT description FROM core.expenses WHERE bank_line_id = 'B-0001'") != [
        ("THE SAME ID AGAIN",)
    ]

    on_file = [row for row in file_rows("ira", day_before.folder) if not "2022-10-14" < row["at"] < "2999"]
    as_it_came = [{"(surplus)" if name is None else name: value for name, value in row.items()} for row in on_file]
    as_it_came[-1]["(surplus)"] = " with commas"
    kept = [
        json.loads(payload) for (payload,) in day_before.ask("FROM raw.activities SELECT payload WHERE source = 'ira'")
    ]
    assert sorted(map(json.dumps, kept)) == sorted(map(json.dumps, as_it_came)), "every row is kept as it came"
    assert day_before.ask("SELECT DISTINCT version FROM ledger.transactions") == [(1,)], "no other row was touched"

    cash = sum(
        Decimal(row["amount_usd"])
        for row in file_rows("ira")
        if row["at"] <= "2022-10-14" and row["kind"] != "dividend"
    )
    assert day_before.ask("SELECT cash_usd FROM mart.cash WHERE account_id = 'ira'") == [(cash + 100,)]
    assert harvested(day_before, FILL) == HARVESTS
    assert not day_before.ask("SELECT 1 FROM core.lots WHERE lot_id LIKE 'X-%'")
    assert day_before.ask("SELECT account_id FROM stg.transactions WHERE transaction_id = 'P-0001'") == [
        ("taxable-picked",)
    ]
    [(account, guess)] = day_before.ask("SELECT account_id, guess FROM core.breaks WHERE security_id = 'WMT'")
    assert account == "ira" and guess.startswith("rows of this account were set aside")
    assert re.search(r"ira: the broker says -?[\d.]+ WMT, the ledger", look), "also when others had fills on the day"


def test_a_purchase_that_could_not_be_booked_stops_the_harvest_that_it_could_wash(day_before):
    day_before.add("roth-spouse.csv", "X-1,2022-10-13,trade,buy,BAC,ten,30.00,0,-300.00,,")
    day_before.run(DAY)
    assert harvested(day_before, FILL) == {pair for pair in HARVESTS if pair[1] != "BAC"}
    refused = day_before.ask("SELECT reason FROM core.proposals WHERE security_id = 'BAC' AND is_refused")
    assert len(refused) == 2 and all("roth-spouse" in reason for (reason,) in refused)


def test_shares_that_the_ledger_cannot_explain_stop_the_harvest_that_their_purchase_could_wash(day_before):
    held = day_before.ask(
        "SELECT security_id, sum(quantity) + if(security_id = 'BAC', 50, 0) FROM core.lots "
        "WHERE account_id = 'roth-spouse' GROUP BY 1"
    )
    by_statements(day_before, *(f"{symbol},{quantity},2022-10-14" for symbol, quantity in held))
    text = day_before.run(DAY)
    assert "the broker reports more than the ledger: a purchase, deposit or transfer is missing" in text
    assert harvested(day_before, FILL) == {pair for pair in HARVESTS if pair[1] != "BAC"}
    refused = day_before.ask("SELECT reason FROM core.proposals WHERE security_id = 'BAC' AND is_refused")
    assert len(refused) == 2 and all("roth-spouse" in reason for (reason,) in refused)


def test_a_row_dated_tomorrow_is_set_aside_today_and_booked_on_its_day(house):
    for name in ACCOUNTS:
        file = house.folder / f"{name}.csv"
        head, *rows = file.read_text().splitlines()
        file.write_text("\n".join((head, *(row for row in rows if row.split(",")[1] <= "2022-10-14"), "")))
    house.add("ira.csv", "X-1,2022-10-17,deposit,,,,,,100.00,,dated ahead")
    (house.folder / "STOP").touch()
    booked = "SELECT traded_on FROM stg.transactions WHERE transaction_id = 'X-1'"
    house.run(DAY, known_at=datetime(2022, 10, 14, 23))
    [(reason,)] = house.ask("SELECT reason FROM mart.set_aside WHERE source = 'ira'")
    assert reason == "the date lies in the future (after 2022-10-14)" and house.ask(booked) == []
    house.run(FILL, known_at=datetime(2022, 10, 17, 23))
    assert house.ask(booked) == [(FILL,)]
    assert house.ask("SELECT 1 FROM mart.set_aside WHERE source = 'ira'") == []
    assert house.ask("SELECT * FROM core.breaks") == []


def test_half_a_file_and_a_column_gone_are_not_believed_and_nothing_booked_is_lost(day_before):
    lots = "SELECT * FROM core.lots WHERE account_id IN ('ira', 'roth-spouse') ORDER BY ALL"
    before = day_before.ask(lots)
    head, *rows = (day_before.folder / "ira.csv").read_text().splitlines()
    (day_before.folder / "ira.csv").write_text("\n".join((head, *rows[: len(rows) // 2], "")))
    roth = pl.read_csv(day_before.folder / "roth-spouse.csv", infer_schema=False)
    roth.drop("note", "price_usd").write_csv(day_before.folder / "roth-spouse.csv")
    text = day_before.run(DAY)
    assert "not far fewer rows than the delivery before" in unmet(day_before)
    look = text.split("Look at")[1]
    assert "activities of ira: expected not far fewer rows" in look
    assert "roth-spouse" in look and "price_usd" in look, "a column that our reading needs; nobody reads the note"
    assert day_before.orders() == [] and day_before.ask(lots) == before


# Rows that come late or are restated ------------------------------------------------------------------

SALE = "F-0153"  # 30 MSFT on 2021-11-16, first in, first out


def sale_by_hand(house) -> list[tuple[Decimal, Decimal]]:
    """Shares and basis of each slice of that sale, from the file as it stands."""
    rows = [row for row in file_rows("taxable-fifo", house.folder) if row["symbol"] == "MSFT"]
    [left] = [Decimal(row["quantity"]) for row in rows if row["id"] == SALE and row["side"] == "sell"]
    slices = []
    for row in sorted((row for row in rows if row["side"] == "buy"), key=lambda row: (row["at"], row["id"])):
        taken = min(left, Decimal(row["quantity"]))
        left -= taken
        if taken:
            slices.append((taken, cents(-Decimal(row["amount_usd"]) * taken / Decimal(row["quantity"]))))
    return slices


def moved(house, change: str) -> list[tuple[Decimal, Decimal]]:
    return house.ask(
        f"SELECT quantity, basis_usd FROM core.moved_disposals WHERE trade_id = '{SALE}' AND change = '{change}' ORDER BY slice"
    )


def test_a_restated_row_is_a_second_version_and_the_sales_that_it_moved_are_shown(day_before):
    was = sale_by_hand(day_before)
    first = "F-0004,2019-02-15,trade,buy,MSFT,13.5672,103.19,0.00,-1400.00"
    second = "F-0004,2019-02-15,trade,buy,MSFT,12,103.19,0.00,-1238.28"
    versions = "SELECT version, quantity FROM ledger.transactions WHERE transaction_id = 'F-0004' ORDER BY version"
    day_before.edit("taxable-fifo.csv", first, second)
    text = day_before.run(DAY)
    assert day_before.ask(versions) == [(1, Decimal("13.5672")), (2, Decimal(12))]
    assert day_before.ask("SELECT count(*) FROM ledger.transactions WHERE version > 1") == [(1,)]
    assert harvested(day_before, FILL) == HARVESTS, "orders filled on this day, and the report outlives them"
    now = sale_by_hand(day_before)
    assert moved(day_before, "was") == [part for part in was if part not in now] != []
    assert moved(day_before, "is now") == [part for part in now if part not in was] != []
    assert day_before.ask("SELECT DISTINCT trade_id FROM core.moved_disposals") == [(SALE,)]
    assert f"sale {SALE} changed since the last run" in text

    day_before.edit("taxable-fifo.csv", second, first)  # the source takes it back
    day_before.run(FILL)
    assert day_before.ask(versions)[2:] == [(3, Decimal("13.5672"))]
    assert moved(day_before, "is now") == [part for part in was if part not in now]


def test_a_late_row_is_booked_on_its_own_day_and_the_sales_that_it_moved_are_shown(day_after):
    was = sale_by_hand(day_after)
    day_after.add("taxable-fifo.csv", "F-9001,2019-02-20,trade,buy,MSFT,2,103.00,0.00,-206.00,,came late")
    text = day_after.run(DAY)
    now = sale_by_hand(day_after)
    assert now != was and (Decimal(2), Decimal(206)) in now
    [(acquired_on,)] = day_after.ask(
        f"SELECT acquired_on FROM core.disposals WHERE trade_id = '{SALE}' AND lot_id = 'F-9001'"
    )
    assert acquired_on == date(2019, 2, 20)
    assert day_after.ask("SELECT DISTINCT trade_id FROM core.moved_disposals") == [(SALE,)], "the harvests did not move"
    assert f"sale {SALE} changed since the last run" in text


# Orders -----------------------------------------------------------------------------------------------


def test_the_kill_switch_holds_every_order_back(day_before):
    (day_before.folder / "STOP").touch()
    text = day_before.run(DAY)
    assert day_before.orders() == [] and day_before.ask("SELECT * FROM ledger.intents") == []
    assert day_before.ask("SELECT gate, count(*) FROM ledger.refusals GROUP BY 1") == [("kill_switch", 10)]
    assert (
        "sell 70 HD in taxable-picked (harvest): kill_switch: the file STOP is there: remove it to trade again" in text
    )


def test_a_dry_run_shows_its_orders_and_sends_none(day_before):
    for account in TAXABLE:
        file = f'activities = "{account}.csv"'
        day_before.edit("portfolio.toml", file, f'{file}\nmode = "dry_run"')
    text = day_before.run(DAY)
    assert day_before.orders() == [] and day_before.ask("SELECT * FROM ledger.intents") == []
    assert set(day_before.ask("SELECT status FROM mart.orders")) == {("dry run",)}
    assert "dry run: sell 70 HD in taxable-picked (harvest), lots" in text
    for account in TAXABLE:
        file = f'activities = "{account}.csv"'
        day_before.edit("portfolio.toml", f'{file}\nmode = "dry_run"', file)
    day_before.run(DAY)
    assert day_before.orders() == [], "what was decided as a dry run stays one"


def test_a_crash_between_intent_and_order_ends_with_one_order_and_one_fill_each(day_before):
    away = day_before.home / "away"
    day_before.journal.symlink_to(away / "journal.jsonl")  # a folder that is not there: nothing can be written
    with pytest.raises(FileNotFoundError):
        day_before.run(DAY)
    assert day_before.ask("SELECT count(*) FROM ledger.intents") == [(10,)], "stored before anything is sent"
    assert day_before.ask("SELECT * FROM ledger.order_events") == []
    assert examine(day_before.settings(), None, now_of(day_before)) == 1, "the doctor knows of the failure"

    away.mkdir()
    day_before.run(DAY)
    assert_one_order_and_one_fill_each(day_before)

    for table in ("order_events", "lot_identifications"):  # as after a crash between sending and noting it
        day_before.change(f"DELETE FROM ledger.{table} WHERE client_order_id LIKE '%.1.1'")
    final(day_before.settings())
    assert_one_order_and_one_fill_each(day_before)


def test_a_replacement_is_not_bought_for_what_the_broker_would_not_sell(day_before):
    away = day_before.home / "away"
    day_before.journal.symlink_to(away / "journal.jsonl")
    with pytest.raises(FileNotFoundError):
        day_before.run(DAY)
    day_before.add("taxable-picked.csv", "X-1,2022-10-14,trade,sell,HD,70,270.84,0,18958.80,,sold by hand meanwhile")
    away.mkdir()
    day_before.run(DAY)
    said = {side: (status, note) for side, status, note in day_before.ask(
        "SELECT side, status, note FROM mart.orders WHERE account_id = 'taxable-picked' AND security_id IN ('HD', 'BBY')"
    )}  # fmt: skip
    assert said["sell"] == ("rejected", "taxable-picked does not hold 70 of HD")
    assert said["buy"] == ("rejected", "not sent: the sale that it replaces was rejected")
    assert not [order for order in day_before.orders() if '"BBY"' in order]


def test_after_a_crash_a_source_that_is_down_holds_up_its_own_orders_only(day_before):
    away = day_before.home / "away"
    day_before.journal.symlink_to(away / "journal.jsonl")
    with pytest.raises(FileNotFoundError):
        day_before.run(DAY)
    away.mkdir()
    (day_before.folder / "taxable-fifo.csv").unlink()
    day_before.run(DAY)
    accounts = [json.loads(order)["account_id"] for order in day_before.orders()]
    assert accounts == ["taxable-picked"] * 8
    assert harvested(day_before, FILL) == {pair for pair in HARVESTS if pair[0] == "taxable-picked"}


def assert_one_order_and_one_fill_each(house) -> None:
    names = [json.loads(order)["client_order_id"] for order in house.orders()]
    assert len(names) == len(set(names)) == 10
    filled = house.ask("SELECT client_order_id FROM ledger.order_events WHERE event = 'filled'")
    assert sorted(name for (name,) in filled) == sorted(names)
    booked = house.ask("SELECT transaction_id, version FROM ledger.transactions WHERE transaction_id LIKE 'fill-%'")
    assert sorted(booked) == sorted((f"fill-{name}", 1) for name in names)


# Prices -----------------------------------------------------------------------------------------------


def unmet(house) -> set[str]:
    return {said for (said,) in house.ask("SELECT expectation FROM raw.arrival_checks WHERE NOT is_met")}


def test_half_of_the_prices_gone_is_not_believed_and_no_order_goes_out(house, closes, prices_of):
    kept = ["AAPL", "AMD", "BAC", "BBY", "CVX", "HD", "JPM", "MSFT", "PFE", "XOM"]  # 10 of 20, harvests among them
    rows = closes.filter((pl.col("date") < DAY) | pl.col("ticker").is_in(kept))
    for day, no_price in ((date(2022, 10, 11), -1.0), (date(2022, 10, 12), float("nan"))):
        is_ko = (pl.col("ticker") == "KO") & (pl.col("date") == day)
        rows = rows.with_columns(adj_close=pl.when(is_ko).then(no_price).otherwise("adj_close"))
    text = house.run(DAY, prices=prices_of(rows))
    assert "about as many symbols as usual" in unmet(house)
    assert house.orders() == [] and house.ask("SELECT * FROM ledger.intents") == []
    lines = house.ask("SELECT count(*) FROM ledger.batch_lines")
    assert lines == house.ask("SELECT count(*) FROM ledger.refusals WHERE gate = 'source'") != [(0,)]
    assert "expected about as many symbols as usual; found 10" in text

    aside = house.ask("SELECT payload ->> 'session_on', reason FROM mart.set_aside WHERE kind = 'prices' ORDER BY 1")
    assert [on for on, _ in aside] == ["2022-10-11", "2022-10-12"]
    assert all(reason == "the close is missing, not a number, zero or negative" for _, reason in aside)
    used = "SELECT count(*) FROM stg.prices WHERE security_id = 'KO' AND session_on IN ('2022-10-11', '2022-10-12')"
    assert house.ask(used) == [(0,)]
    assert house.ask(used.replace("stg", "raw").replace("security_id", "symbol")) == [(2,)]


def test_prices_of_last_week_are_not_believed_and_no_order_goes_out(house, closes, prices_of):
    text = house.run(DAY, prices=prices_of(closes.filter(pl.col("date") <= date(2022, 10, 7))))
    assert "prices of the day" in unmet(house)
    assert house.orders() == [] and house.ask("SELECT * FROM ledger.intents") == []
    gates = {gate for (gate,) in house.ask("SELECT gate FROM ledger.refusals")}
    assert {"source", "price"} <= gates
    assert "the prices of folder speak to 2022-10-07, 7 days ago" in text


def test_whole_prices_of_the_day_meet_every_expectation(finished):
    assert unmet(finished) == set()
    assert len(finished.ask("SELECT DISTINCT expectation FROM raw.arrival_checks")) == 7
    assert "prices" in (finished.folder / "expectations" / "index.html").read_text(), "a person can open what was found"


# Errors that say what to do ---------------------------------------------------------------------------


def test_a_run_without_a_portfolio_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("THRESHER_HOME", str(tmp_path / "home"))
    with pytest.raises(SettingsError, match=r"portfolio.toml does not exist. Make one: copy"):
        load()
    assert cli.main(["run", "--no-prefect"]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "home" / "portfolio.toml") in said and "thresher demo" in said


def test_a_tax_year_without_law_stops_with_the_file_to_extend(house):
    with pytest.raises(LawMissing, match=r"sql/law/ordinary_rate.csv has no rows for 2018"):
        house.run(date(2018, 12, 26))
    assert house.orders() == []


def test_books_that_do_not_balance_stop_the_run_and_the_last_good_stage_stays(day_after):
    books = {name: day_after.ask(f"SELECT * FROM core.{name} ORDER BY ALL") for name in ("lots", "disposals", "drift")}
    day_after.change("INSERT INTO ledger.order_events VALUES ('nobody', 'fill', 'x', 1, '', now()::TIMESTAMP)")
    with pytest.raises(UnbalancedBooks, match=r"sql/check/no_order_without_intent.sql: .*nobody"):
        day_after.run(FILL)
    assert {name: day_after.ask(f"SELECT * FROM core.{name} ORDER BY ALL") for name in books} == books
    assert day_after.ask("SELECT max(session_on) FROM raw.prices") == [(FILL,)], "the arrivals before it are kept"
    assert day_after.ask("SELECT DISTINCT stage FROM ledger.runs WHERE as_of = '2022-10-17' ORDER BY 1") == [
        ("failed",),
        ("started",),
    ]
    assert len(day_after.orders()) == 10


# The dead man's switch --------------------------------------------------------------------------------


def now_of(house) -> datetime:
    """The moment of the home's first run: a replay goes on from there by one session with every real one."""
    [(known_at,)] = house.ask("SELECT known_at FROM ledger.runs ORDER BY reached_at LIMIT 1")
    return known_at


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server on loopback, and the paths that it was asked for."""
    asked: list[str] = []

    class Listener(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_the_doctor_pings_when_all_is_booked(finished, capsys):
    with listening() as (address, asked):
        assert examine(finished.settings(), f"{address}/alive", now_of(finished)) == 0
    assert asked == ["/alive"]
    assert "all booked to 2022-10-14" in capsys.readouterr().out


def test_the_doctor_keeps_silent_and_exits_with_1_when_a_session_is_missing(finished, capsys):
    with listening() as (address, asked):
        assert examine(finished.settings(), f"{address}/alive", now_of(finished) + timedelta(days=5)) == 1
    assert asked == []
    assert "behind: the last booked session is 2022-10-14" in capsys.readouterr().out


def test_a_ping_that_nobody_answers_is_an_error(finished, capsys):
    with listening() as (address, _):
        pass
    assert examine(finished.settings(), address, now_of(finished)) == 1
    assert "could not be called" in capsys.readouterr().err


def test_the_doctor_command_is_behind_as_long_as_nothing_is_booked(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("THRESHER_HOME", str(tmp_path / "home"))
    assert cli.main(["doctor"]) == 1
    assert "nothing has been booked yet: thresher demo first" in capsys.readouterr().err
