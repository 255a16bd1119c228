"""The person at the controls: `/_admin` opens accounts, moves the clock, tells prices, pays, announces, and breaks things.

GET  /_admin                    accounts with their keys, the clock, the journal
POST /_admin/accounts           {"account": "ira", "cash": "5000", "multiplier": 1, "shorting": false}
POST /_admin/clock              {"at": "2026-03-02T16:00:00-05:00"} or {"advance_seconds": 60}
POST /_admin/prices             {"symbol": "SPY", "price": "500.25", "at": ...}, or a list; without `at`, now
POST /_admin/activities         {"account": "ira", "activity_type": "CSD", "net_amount": "100"}, or a list
POST /_admin/corporate_actions  {"type": "forward_split", "symbol": "SPY", "new_rate": 2, "old_rate": 1, "ex_date": ...}, or a list
POST /_admin/options            {"account": "ira", "symbol": ..., "contracts": "1", "exercised": true}: before their last day
POST /_admin/liquidity          {"symbol": "SPY", "plan": [[0, "0.4"], [300, "0.6"]]}; without a symbol, of all
POST /_admin/reject             {"symbol": "SPY", "reason": "halted"}: its next order is rejected after it was taken
GET  /_admin/lots?account=ira   the lots that its sales will relieve, and its settled cash
GET  /_admin/journal?after=12   the journal's lines
GET, POST, DELETE /_admin/faults
"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any, NamedTuple

from tests.fake_alpaca import actions, bodies, history
from tests.fake_alpaca.books import Account, iso, settled_cash, text
from tests.fake_alpaca.faults import Faults
from tests.fake_alpaca.market import new_york
from tests.fake_alpaca.orders import unprocessable
from tests.fake_alpaca.trading import Broker

Answer = tuple[int, Any]  # a status and a body; no body is None


class Request(NamedTuple):
    broker: Broker
    faults: Faults
    account: Account  # whose keys it bears; none for the person at the controls
    query: dict[str, str]
    body: Any
    parts: tuple[str, ...]  # what the route's pattern caught


CONFIGURATIONS = {
    "dtbp_check": "entry",
    "trade_confirm_email": "all",
    "suspend_trade": False,
    "no_shorting": False,
    "fractional_trading": True,
    "max_margin_multiplier": "4",
    "pdt_check": "entry",
    "ptp_no_exception_entry": False,
    "max_options_trading_level": 2,
}


def keys(seed: str, name: str) -> tuple[str, str]:
    """An account's key and secret; they follow from its name, so that they are stored nowhere."""
    made = [sha256(f"{seed}:{name}:{part}".encode()).hexdigest() for part in ("key", "secret")]
    return f"PK{made[0][:18].upper()}", made[1][:40]


def open_account(broker: Broker, name: str, cash: Decimal, multiplier: int = 1, shorting: bool = False) -> Account:
    if name in broker.books.accounts:
        raise unprocessable(f"there is an account {name} already")
    if multiplier not in (1, 2, 4):
        raise unprocessable("multiplier is 1 (cash), 2 or 4 (margin)")
    number = f"PA{int(sha256(name.encode()).hexdigest(), 16) % 10**9:09}"
    options = {"multiplier": multiplier, "shorting": shorting, "configurations": CONFIGURATIONS}
    broker.emit("account", None, of=name, id=broker.new_id(), number=number, **options)
    account = broker.books.accounts[name]
    if cash:
        actions.book(broker, account, "CSD", net=cash, row={"description": "opening deposit"})
    return account


def _named(asked: Request) -> Account:
    name = asked.body.get("account") or next(iter(asked.broker.books.accounts), None)
    if name not in asked.broker.books.accounts:
        raise unprocessable(f"account is one of {', '.join(asked.broker.books.accounts)}; it is {name}")
    return asked.broker.books.accounts[name]


def admin(asked: Request) -> Answer:
    broker = asked.broker
    return 200, {
        "clock": iso(broker.clock),
        "journal": str(broker.journal.path),
        "events": broker.books.count,
        "accounts": [
            {
                "account": name,
                "id": account.id,
                **dict(zip(("key_id", "secret_key"), keys(broker.books.seed, name), strict=True)),
            }
            for name, account in broker.books.accounts.items()
        ],
    }


def admin_open(asked: Request) -> Answer:
    body = asked.body
    given = {name: body[name] for name in ("multiplier", "shorting") if name in body}
    open_account(asked.broker, body["account"], Decimal(str(body.get("cash", 0))), **given)
    return 200, admin(asked)[1]["accounts"][-1]


def admin_clock(asked: Request) -> Answer:
    broker = asked.broker
    if not broker.standing:
        raise unprocessable("the clock is the real one; start with --clock to move it")
    if "at" in asked.body:
        broker.move_clock(history.moment(asked.body["at"], "at"))
    else:
        broker.move_clock(broker.clock + timedelta(seconds=float(asked.body["advance_seconds"])))
    return 200, bodies.clock(broker)


def admin_prices(asked: Request) -> Answer:
    """Prices at moments; one of this moment meets the orders at once."""
    broker = asked.broker
    for row in asked.body if isinstance(asked.body, list) else [asked.body]:
        at = history.moment(row["at"], "at") if row.get("at") else broker.clock
        price = Decimal(str(row["price"]))
        if price <= 0:
            raise unprocessable(f"price must be > 0: {row}")
        broker.emit("price", symbol=row["symbol"], price_at=at.isoformat(), price=text(price))
    for account in broker.books.accounts.values():
        for order in list(account.working.values()):
            broker.match(account, order)
    return 200, {}


def admin_activity(asked: Request) -> Answer:
    """A movement of cash, or of shares (ACATS, JNLS, CFEE: `qty`, at `price` a share), as one of Alpaca's activities."""
    if isinstance(asked.body, list):
        for one in asked.body:
            admin_activity(asked._replace(body=one))
        return 200, {}
    body, account = asked.body, _named(asked)
    kind, net = body.get("activity_type"), Decimal(str(body.get("net_amount", 0)))
    if kind not in history.TYPES - {"FILL", "TRANS", "MISC"}:
        raise unprocessable(f"invalid activity type: {kind}")
    if net % Decimal("0.01"):
        raise unprocessable("net_amount is in cents")
    row = {
        name: body.get(name)
        for name in ("symbol", "qty", "price", "per_share_amount", "description", "date", "activity_sub_type")
    }
    row = {name: str(value) for name, value in row.items() if value is not None}
    moved = {}
    if kind in ("ACATS", "JNLS", "CFEE") and "qty" in row:
        symbol, quantity = row["symbol"], Decimal(row["qty"])
        cost = quantity * Decimal(row.get("price", "0"))
        moved = actions.moved(asked.broker, account, symbol, quantity, cost)
    actions.book(asked.broker, account, kind, net=net, row=row, **moved)
    return 200, {}


def admin_action(asked: Request) -> Answer:
    try:
        told = [
            actions.announced(asked.broker, one)
            for one in (asked.body if isinstance(asked.body, list) else [asked.body])
        ]
    except ValueError as wrong:
        raise unprocessable(str(wrong)) from wrong
    for action in told:
        if action["id"] in asked.broker.books.actions:
            raise unprocessable(f"there is an action {action['id']} already")
        asked.broker.emit(
            "announced", action=action, steps={step: at.isoformat() for step, at in actions.steps(action)}
        )
    asked.broker.act()
    return 200, told


def admin_option(asked: Request) -> Answer:
    """End contracts before their last day: {"account", "symbol", "contracts", "exercised"}."""
    account, symbol = _named(asked), asked.body["symbol"]
    contracts = Decimal(str(asked.body.get("contracts", account.quantity(symbol))))
    if not contracts or abs(contracts) > abs(account.quantity(symbol)):
        raise unprocessable(f"{account.name} holds {text(account.quantity(symbol))} of {symbol}")
    actions.end_option(asked.broker, account, symbol, contracts, exercised=bool(asked.body.get("exercised", True)))
    return 200, {}


def admin_liquidity(asked: Request) -> Answer:
    plan = [[int(seconds), str(part)] for seconds, part in asked.body["plan"]]
    asked.broker.emit("liquidity", symbol=asked.body.get("symbol", "*"), plan=plan)
    return 200, {}


def admin_reject(asked: Request) -> Answer:
    asked.broker.emit("reject_next", symbol=asked.body.get("symbol", "*"), reason=asked.body.get("reason", "rejected"))
    return 200, {}


def admin_lots(asked: Request) -> Answer:
    asked = asked._replace(body=asked.query)
    account = _named(asked)
    return 200, {
        "settled_cash": text(settled_cash(account, new_york(asked.broker.clock))),
        "lots": {symbol: actions.as_rows(lots) for symbol, lots in sorted(account.lots.items())},
    }


def admin_journal(asked: Request) -> Answer:
    return 200, asked.broker.journal.events[int(asked.query.get("after", 0)) :]


def get_faults(asked: Request) -> Answer:
    return 200, asked.faults.told()


def set_faults(asked: Request) -> Answer:
    try:
        asked.faults.add(asked.body if isinstance(asked.body, list) else [asked.body])
    except (TypeError, ValueError) as wrong:
        raise unprocessable(str(wrong)) from wrong
    return get_faults(asked)


def clear_faults(asked: Request) -> Answer:
    asked.faults.list.clear()
    return 204, None


def get_clock(asked: Request) -> Answer:
    return 200, bodies.clock(asked.broker)


TABLE: list[tuple[str, str, Callable[[Request], Answer]]] = [
    ("GET", "/_admin", admin),
    ("POST", "/_admin/accounts", admin_open),
    ("GET", "/_admin/clock", get_clock),
    ("POST", "/_admin/clock", admin_clock),
    ("POST", "/_admin/prices", admin_prices),
    ("POST", "/_admin/activities", admin_activity),
    ("POST", "/_admin/corporate_actions", admin_action),
    ("POST", "/_admin/options", admin_option),
    ("POST", "/_admin/liquidity", admin_liquidity),
    ("POST", "/_admin/reject", admin_reject),
    ("GET", "/_admin/lots", admin_lots),
    ("GET", "/_admin/journal", admin_journal),
    ("GET", "/_admin/faults", get_faults),
    ("POST", "/_admin/faults", set_faults),
    ("DELETE", "/_admin/faults", clear_faults),
]
