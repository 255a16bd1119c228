"""Against a local Alpaca, which has books of its own: faults place no order twice, and our books hold what its books hold."""

import csv
from collections import defaultdict
from datetime import date
from decimal import Decimal

import pytest
from fake_alpaca.running import Running, running

from flows.accounts import Account, Alpaca, AlpacaPrices
from flows.calendar import next_session
from flows.connectors import FINAL, Order, OrderRejected, Unavailable
from flows.connectors.brokers.alpaca import AlpacaBroker
from flows.connectors.markets.alpaca import AlpacaMarket
from flows.lots_door import run
from transforms.tables import CASH

START = date(2022, 10, 13)
CALL = "HD231215C00300000"
PRICES = {
    "HD": "300",
    "MRO": "25",
    "COP": "120",
    "SEM": "22",
    "CON": "10",
    "HIE": "12",
    "FB": "130",
    "META": "130",
    CALL: "5",
}


class Local:
    """A local Alpaca, and one account at it."""

    def __init__(self, server: Running, name: str):
        self.server, self.name = server, name
        self.opened = server.admin("/accounts", {"account": name, "cash": 1_000_000, "multiplier": 1})
        self.orders = 0

    @property
    def day(self) -> date:
        return date.fromisoformat(self.server.admin("")["clock"][:10])

    def broker(self) -> AlpacaBroker:
        keys = Alpaca(key_name="LOCAL")
        account = Account(id="joint", name="Joint", type="taxable", owner="joint", broker="alpaca", alpaca=keys)
        return AlpacaBroker(account, lambda _: None)

    def order(self, side: str, symbol: str, quantity: str) -> Order:
        self.orders += 1
        name = f"{self.day}.joint.daily.1.{self.orders}.1"
        return Order(name, side, symbol, Decimal(quantity), "", self.day)

    def trade(self, *orders: tuple[str, str, str]) -> None:
        for order in orders:
            self.broker().place_order(self.order(*order))
        self.server.admin("/clock", {"at": f"{next_session(self.day)}T22:00:00Z"})

    def broken(self, *faults: dict) -> None:
        self.server.admin("/faults", list(faults))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    journal = tmp_path_factory.mktemp("alpaca") / "journal.jsonl"
    with running(journal, "--clock", f"{START}T22:00:00Z", "--no-sync", "--account", "nobody:0") as server:
        server.admin(
            "/prices", [{"symbol": name, "price": price, "at": f"{START}T14:00:00Z"} for name, price in PRICES.items()]
        )
        yield server


@pytest.fixture
def local(server, request, monkeypatch):
    made = Local(server, request.node.name)
    for name in ("THRESHER_ALPACA_URL", "THRESHER_ALPACA_DATA_URL"):
        monkeypatch.setenv(name, server.address)
    monkeypatch.setenv("LOCAL_API_KEY", made.opened["key_id"])
    monkeypatch.setenv("LOCAL_SECRET_KEY", made.opened["secret_key"])
    yield made
    server.admin("/faults", method="DELETE")


# Faults ------------------------------------------------------------------------------------------------

POST = {"method": "POST", "path": "/v2/orders"}
LOOK_UP = {"method": "GET", "path": "/v2/orders:by_client_order_id"}
FAULTS = {
    "the answer is lost": [{"kind": "lost_answer", "match": POST}],
    "half of the answer comes": [{"kind": "truncated", "match": POST}],
    "it never arrives": [{"kind": "refused", "match": POST}],
    "it never arrives three times": [{"kind": "refused", "match": POST, "times": 3}],
    "a 504 that was carried out": [{"kind": "504", "match": POST}],
    "a 504 that was not": [{"kind": "504", "match": POST, "carried_out": False}],
    "a 500 that was carried out": [{"kind": "500", "match": POST, "carried_out": True}],
    "too many requests": [{"kind": "429", "match": POST, "times": 2}],
    "lost, and the look-up fails": [
        {"kind": "lost_answer", "match": POST},
        {"kind": "503", "match": LOOK_UP, "times": 2},
    ],
    "lost, and the look-up is down": [
        {"kind": "lost_answer", "match": POST},
        {"kind": "503", "match": LOOK_UP, "times": 4},
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_goes_wrong_an_order_is_placed_once(local, fault):
    order = local.order("buy", "HD", "3")
    local.broken(*FAULTS[fault])
    answers, doubts = [], []
    while not answers and len(doubts) < 5:  # as the runs of a day would
        try:
            answers.append(local.broker().place_order(order).event)
        except Unavailable as wrong:
            doubts.append(wrong.may_pass)
    assert answers == ["accepted"] and all(doubts)
    local.trade()
    told = [state for state in local.broker().order_states(local.day) if state.event in ("accepted", *FINAL)]
    assert [(state.event, state.quantity) for state in told] == [("accepted", 0), ("filled", 3)]
    assert dict(local.broker().positions(local.day).rows.select("symbol", "quantity").rows())["HD"] == "3"


def test_fills_that_are_told_twice_and_out_of_order_are_rows_once_and_in_order(local):
    for n in range(130):
        local.broker().place_order(local.order("buy", "HD", str(n % 7 + 1)))
    local.trade()
    sound = local.broker().activities(local.day).rows.rows()
    path = {"path": "/v2/account/activities"}
    local.broken(
        {"kind": "duplicate_fills", "match": path, "times": 3}, {"kind": "shuffled", "match": path, "times": 3}
    )
    assert local.broker().activities(local.day).rows.rows() == sound
    local.broken({"kind": "shuffled", "match": path, "times": 9})
    assert local.broker().activities(local.day).rows.rows() == sound and len(sound) >= 131


# What companies do ---------------------------------------------------------------------------------------

ACTIONS = {
    "a split": ({"type": "forward_split", "symbol": "HD", "new_rate": 3, "old_rate": 2}, "ex_date", {"split"}),
    "a reverse split": ({"type": "reverse_split", "symbol": "HD", "new_rate": 1, "old_rate": 8}, "ex_date", {"split"}),
    "a stock dividend": ({"type": "stock_dividend", "symbol": "HD", "rate": "0.05"}, "ex_date", {"split"}),
    "a dividend with tax withheld": (
        {"type": "cash_dividend", "symbol": "HD", "rate": "1.9", "withholding_rate": "0.15"}, "ex_date", {"dividend", "fee"},
    ),
    "a merger for shares": (
        {"type": "stock_merger", "acquiree_symbol": "MRO", "acquirer_symbol": "COP", "acquiree_rate": 1, "acquirer_rate": "0.255"},
        "effective_date", {"merger"},
    ),
    "a merger for cash": ({"type": "cash_merger", "acquiree_symbol": "HIE", "rate": "12.6341694"}, "effective_date", {"trade"}),
    "a new symbol": ({"type": "name_change", "old_symbol": "FB", "new_symbol": "META"}, "process_date", {"symbol_change"}),
    "a spin-off": (
        {"type": "spin_off", "source_symbol": "SEM", "new_symbol": "CON", "source_rate": 1, "new_rate": "0.5", "basis_rate": "0.4"},
        "ex_date", {"spin_off"},
    ),
}  # fmt: skip


def booked(local: Local, folder) -> dict[str, Decimal]:
    """What the lots engine holds after the rows that Alpaca's activities became, and the cash of them."""
    rows = local.broker().activities(local.day).rows.to_dicts()
    columns = [
        "trade_id",
        "account_id",
        "account_type",
        "owner",
        "security_id",
        "traded_at",
        *(n for n in rows[0] if not n.startswith("alpaca_")),
    ]
    file = folder / "trades.csv"
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, [*dict.fromkeys(columns)], extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            if row["kind"] in (*CASH, "bust"):
                continue
            owner = {"account_id": "joint", "account_type": "taxable", "owner": "joint"}
            kind = "" if row["kind"] == "trade" else row["kind"]
            writer.writerow(
                row
                | owner
                | {"trade_id": row["id"], "security_id": row["symbol"], "traded_at": row["at"], "kind": kind}
            )
    assert run(file, folder / "out", strict=True) == 0
    held: dict[str, Decimal] = defaultdict(Decimal)
    for lot in csv.DictReader((folder / "out" / "open_lots.csv").open()):
        held[lot["security_id"]] += Decimal(lot["quantity"])
    held["USD"] = sum((Decimal(row["amount_usd"] or 0) for row in rows), Decimal(0))
    return dict(held)


def at_alpaca(local: Local) -> dict[str, Decimal]:
    rows = local.broker().positions(local.day).rows
    return dict(zip(rows["symbol"], map(Decimal, rows["quantity"]), strict=True))


@pytest.mark.parametrize("event", ACTIONS)
def test_after_what_a_company_did_our_books_hold_what_alpaca_holds(local, event, tmp_path):
    told, dated, kinds = ACTIONS[event]
    symbol = next(told[name] for name in ("symbol", "acquiree_symbol", "old_symbol", "source_symbol") if name in told)
    local.trade(("buy", symbol, "24"))
    local.trade(("buy", symbol, "16"))
    before = at_alpaca(local)
    on = str(next_session(local.day))
    local.server.admin("/corporate_actions", told | {dated: on, "payable_date": on})
    local.trade()
    rows = local.broker().activities(local.day).rows
    assert set(rows.filter(at=on)["kind"]) == kinds
    assert at_alpaca(local) != before and booked(local, tmp_path) == at_alpaca(local)
    assert dict(
        local.broker().positions(date.fromisoformat(on).replace(day=1)).rows.select("symbol", "quantity").rows()
    ).keys() <= {symbol, "USD"}


def test_an_option_that_is_exercised_brings_its_shares_at_the_strike(local, tmp_path):
    local.trade(("buy", CALL, "2"))
    local.server.admin("/options", {"account": local.name, "symbol": CALL, "contracts": 1})
    kinds = local.broker().activities(local.day).rows["kind"].to_list()
    assert kinds.count("option_exercise") == 1 and "OPTRD" not in kinds
    assert at_alpaca(local) == booked(local, tmp_path) == {CALL: 1, "HD": 100, "USD": 1_000_000 - 1000 - 30_000}


def test_what_companies_did_is_in_the_feed_too(local, tmp_path):
    told = {"id": "fed", "type": "forward_split", "symbol": "HD", "new_rate": 2, "old_rate": 1, "ex_date": "2023-03-01"}
    local.server.admin("/corporate_actions", told)
    (tmp_path / "securities.csv").write_text("symbol,name,sector\nHD,Home Depot,Things\n")
    market = AlpacaMarket(AlpacaPrices(key_name="LOCAL"), tmp_path / "securities.csv", lambda _: None)
    (row,) = market.corporate_actions(date(2023, 1, 1), date(2023, 12, 31)).rows.iter_rows(named=True)
    assert (row["id"], row["kind"], row["symbol"], row["on"], row["ratio"]) == (
        "fed",
        "split",
        "HD",
        "2023-03-01",
        "2:1",
    )


def test_what_it_refuses_is_rejected_in_its_words(local):
    with pytest.raises(OrderRejected, match="insufficient buying power"):
        local.broker().place_order(local.order("buy", "HD", "100000"))
    with pytest.raises(OrderRejected, match="does not hold 1 of COP"):
        local.broker().place_order(local.order("sell", "COP", "1"))
