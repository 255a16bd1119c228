"""Which request does what: one table, first match wins."""

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date
from decimal import Decimal

from tests.fake_alpaca import actions, bodies, controls, history, quotes
from tests.fake_alpaca.books import Account, Order, position_symbol, text
from tests.fake_alpaca.controls import CONFIGURATIONS, Answer, Request
from tests.fake_alpaca.market import is_crypto, is_option, new_york
from tests.fake_alpaca.orders import Refused, unprocessable
from tests.fake_alpaca.trading import Broker

# Accounts -------------------------------------------------------------------------------------------------


def get_account(asked: Request) -> Answer:
    return 200, bodies.account(asked.broker, asked.account)


def get_configurations(asked: Request) -> Answer:
    return 200, asked.account.configurations


def set_configurations(asked: Request) -> Answer:
    if unknown := set(asked.body) - set(CONFIGURATIONS):
        raise unprocessable(f"unknown configuration: {', '.join(sorted(unknown))}")
    asked.broker.emit("configured", asked.account, configurations={**asked.account.configurations, **asked.body})
    return 200, asked.account.configurations


def get_activities(asked: Request) -> Answer:
    return 200, history.activities(asked.account, asked.query, *asked.parts)


# Orders ---------------------------------------------------------------------------------------------------


def find(account: Account, order_id: str) -> Order:
    if order_id not in account.orders:
        raise Refused(404, 40410000, f"order not found for {order_id}")
    return account.orders[order_id]


def place_order(asked: Request) -> Answer:
    order = asked.broker.place(asked.account, asked.body)
    answer = bodies.order(order)
    asked.broker.release(asked.account, order)
    return 200, answer


def get_orders(asked: Request) -> Answer:
    query = asked.query
    status, direction, limit = query.get("status", "open"), query.get("direction", "desc"), query.get("limit", "50")
    if status not in ("open", "closed", "all") or direction not in ("asc", "desc"):
        raise unprocessable(f"invalid status or direction: {status}, {direction}")
    if not limit.isdigit() or not 1 <= int(limit) <= 500:
        raise unprocessable("limit must be between 1 and 500")
    after = history.moment(query["after"], "after") if "after" in query else None
    until = history.moment(query["until"], "until") if "until" in query else None
    wanted = set(filter(None, query.get("symbols", "").split(",")))
    orders = list((asked.account.working if status == "open" else asked.account.orders).values())
    found = []
    for order in orders if direction == "asc" else reversed(orders):
        if (after and order.submitted_at <= after) or (until and order.submitted_at >= until):
            continue
        if (wanted and order.symbol not in wanted) or query.get("side", order.side) != order.side:
            continue
        if status == "all" or order.is_open == (status == "open"):
            found.append(bodies.order(order))
        if len(found) == int(limit):
            break
    return 200, found


def get_order(asked: Request) -> Answer:
    return 200, bodies.order(find(asked.account, asked.parts[0]))


def get_order_by_client_id(asked: Request) -> Answer:
    client_id = asked.query.get("client_order_id", "")
    if client_id not in asked.account.by_client_id:
        raise Refused(404, 40410000, f"order not found for {client_id}")
    return 200, bodies.order(asked.account.by_client_id[client_id])


def replace_order(asked: Request) -> Answer:
    order = asked.broker.replace(asked.account, find(asked.account, asked.parts[0]), asked.body)
    answer = bodies.order(order)
    asked.broker.release(asked.account, order)
    return 200, answer


def cancel_order(asked: Request) -> Answer:
    asked.broker.cancel(asked.account, find(asked.account, asked.parts[0]))
    return 204, None


def cancel_orders(asked: Request) -> Answer:
    found = list(asked.account.working.values())
    for order in found:
        asked.broker.cancel(asked.account, order)
    return 207, [{"id": order.id, "status": 200} for order in found]


# Positions ------------------------------------------------------------------------------------------------


def _held(account: Account, name: str) -> str:
    """The symbol of a position that is asked for by its symbol or its asset's id."""
    for symbol in account.lots:
        if name in (symbol, position_symbol(symbol), bodies.asset_id(symbol)):
            return symbol
    raise Refused(404, 40410000, "position does not exist")


def get_positions(asked: Request) -> Answer:
    return 200, [bodies.position(asked.broker, asked.account, symbol) for symbol in sorted(asked.account.lots)]


def get_position(asked: Request) -> Answer:
    return 200, bodies.position(asked.broker, asked.account, _held(asked.account, asked.parts[0]))


def _close(asked: Request, symbol: str) -> dict:
    quantity = abs(asked.account.quantity(symbol))
    if asked.query.get("qty"):
        quantity = Decimal(asked.query["qty"])
    elif asked.query.get("percentage"):
        quantity = round(quantity * Decimal(asked.query["percentage"]) / 100, 9)
    order = {
        "symbol": symbol,
        "qty": text(quantity),
        "side": "sell" if asked.account.quantity(symbol) > 0 else "buy",
        "type": "market",
        "time_in_force": "gtc" if is_crypto(symbol) else "day",
    }
    return place_order(asked._replace(body=order))[1]


def close_position(asked: Request) -> Answer:
    return 200, _close(asked, _held(asked.account, asked.parts[0]))


def close_positions(asked: Request) -> Answer:
    if asked.query.get("cancel_orders", "").lower() == "true":
        cancel_orders(asked)
    answers = []
    for symbol in sorted(asked.account.lots):
        try:
            status, body = 200, _close(asked, symbol)
        except Refused as refused:
            status, body = refused.status, refused.body
        answers.append({"symbol": position_symbol(symbol), "status": status, "body": body})
    return 207, answers


# The market -----------------------------------------------------------------------------------------------


def get_calendar(asked: Request) -> Answer:
    try:
        first = date.fromisoformat(asked.query.get("start", "1999-12-01")[:10])
        last = date.fromisoformat(asked.query.get("end", "2029-12-31")[:10])
    except ValueError:
        raise unprocessable("invalid start or end: a date is YYYY-MM-DD") from None
    return 200, [bodies.calendar_day(session) for session in asked.broker.market.exchange.between(first, last)]


def _symbols(broker: Broker) -> list[str]:
    """What has a price of its own here; the symbols of a table are found when they are asked for by name."""
    return sorted({*broker.market.told, *(symbol for a in broker.books.accounts.values() for symbol in a.lots)})


def get_assets(asked: Request) -> Answer:
    kind = asked.query.get("asset_class", "us_equity")
    if asked.query.get("status", "active") != "active":
        return 200, []
    return 200, [bodies.asset(asked.broker, s) for s in _symbols(asked.broker) if bodies.asset_class(s) == kind]


def get_asset(asked: Request) -> Answer:
    name = asked.parts[0].replace("%2F", "/")
    by_id = {bodies.asset_id(symbol): symbol for symbol in _symbols(asked.broker)}
    symbol = by_id.get(name, name)
    if not asked.broker.market.knows(symbol):
        raise Refused(404, 40410000, f"asset not found for {name}")
    return 200, bodies.asset(asked.broker, symbol)


def get_contracts(asked: Request) -> Answer:
    underlyings = set(filter(None, asked.query.get("underlying_symbols", "").split(",")))
    found = [
        s for s in _symbols(asked.broker) if is_option(s) and (not underlyings or actions.contract(s)[0] in underlyings)
    ]
    return 200, {"option_contracts": [bodies.option_contract(asked.broker, s) for s in found], "next_page_token": None}


def get_contract(asked: Request) -> Answer:
    if not is_option(asked.parts[0]) or not asked.broker.market.knows(asked.parts[0]):
        raise Refused(404, 40410000, f"option contract not found for {asked.parts[0]}")
    return 200, bodies.option_contract(asked.broker, asked.parts[0])


def get_announcements(asked: Request) -> Answer:
    query = asked.query
    if missing := [name for name in ("ca_types", "since", "until") if name not in query]:
        raise unprocessable(f"{', '.join(missing)} is required")
    kinds = {name.lower() for name in query["ca_types"].split(",")}
    on = query.get("date_type") or "ex_date"
    told = [bodies.announcement(action) for action in asked.broker.books.actions.values()]
    return 200, [
        body
        for body in told
        if body["ca_type"] in kinds
        and query["since"][:10] <= (body[on] or "") <= query["until"][:10]
        and query.get("symbol") in (None, body["initiating_symbol"], body["target_symbol"])
    ]


def get_corporate_actions(asked: Request) -> Answer:
    """The feed: by kind, in the order of the dates."""
    query, today = asked.query, str(new_york(asked.broker.clock))
    first, last = query.get("start", today)[:10], query.get("end", today)[:10]
    kinds, wanted = (set(filter(None, query.get(name, "").split(","))) for name in ("types", "symbols"))
    ids = set(filter(None, query.get("ids", "").split(",")))
    found = [
        action
        for action in asked.broker.books.actions.values()
        if (
            action["id"] in ids
            if ids
            else first <= action[actions.KINDS[action["type"]][1]] <= last
            and (not kinds or action["type"] in kinds)
            and (not wanted or wanted & {action.get(name) for name in bodies.CUSIPS})
        )
    ]
    found.sort(key=lambda action: action[actions.KINDS[action["type"]][1]], reverse=query.get("sort") == "desc")
    start = int(b64decode(query["page_token"]).decode()) if query.get("page_token") else 0
    end = start + int(query.get("limit", 100))
    groups: dict[str, list] = {}
    for action in found[start:end]:
        groups.setdefault(f"{action['type']}s", []).append(bodies.action(action))
    token = b64encode(str(end).encode()).decode() if end < len(found) else None
    return 200, {"corporate_actions": groups, "next_page_token": token}


def _data(kind: str, what: str) -> Callable[[Request], Answer]:
    """A route of the market-data interface."""

    def answer(asked: Request) -> Answer:
        if what == "bars":
            return 200, quotes.bars(asked.broker, kind, asked.query, *asked.parts)
        if what == "snapshots":
            return 200, quotes.snapshots(asked.broker, kind, asked.query)
        if what.startswith("latest "):
            return 200, quotes.latest(asked.broker, kind, what.removeprefix("latest "), asked.query)
        return 200, quotes.past(asked.broker, kind, what, asked.query)

    return answer


def get_chain(asked: Request) -> Answer:
    found = [s for s in _symbols(asked.broker) if is_option(s) and actions.contract(s)[0] == asked.parts[0]]
    return 200, quotes.snapshots(asked.broker, "options", asked.query, found)


STOCKS, OPTIONS, CRYPTO = "/v2/stocks", "/v1beta1/options", "/v1beta3/crypto/us"
TABLE: list[tuple[str, str, Callable[[Request], Answer]]] = [
    ("GET", "/v2/account", get_account),
    ("GET", "/v2/account/configurations", get_configurations),
    ("PATCH", "/v2/account/configurations", set_configurations),
    ("GET", "/v2/account/activities", get_activities),
    ("GET", "/v2/account/activities/([^/]+)", get_activities),
    ("POST", "/v2/orders", place_order),
    ("GET", "/v2/orders", get_orders),
    ("DELETE", "/v2/orders", cancel_orders),
    ("GET", "/v2/orders:by_client_order_id", get_order_by_client_id),
    ("GET", "/v2/orders/([^/]+)", get_order),
    ("PATCH", "/v2/orders/([^/]+)", replace_order),
    ("DELETE", "/v2/orders/([^/]+)", cancel_order),
    ("GET", "/v2/positions", get_positions),
    ("DELETE", "/v2/positions", close_positions),
    ("GET", "/v2/positions/(.+)", get_position),
    ("DELETE", "/v2/positions/(.+)", close_position),
    ("GET", "/v2/clock", controls.get_clock),
    ("GET", "/v2/calendar", get_calendar),
    ("GET", "/v2/assets", get_assets),
    ("GET", "/v2/assets/(.+)", get_asset),
    ("GET", "/v2/options/contracts", get_contracts),
    ("GET", "/v2/options/contracts/([^/]+)", get_contract),
    ("GET", "/v2/corporate_actions/announcements", get_announcements),
    ("GET", "/v1(?:beta1)?/corporate-actions", get_corporate_actions),
    *(
        ("GET", f"{base}/{path}", _data(kind, what))
        for base, kind, latest in (
            (STOCKS, "stocks", "{}/latest"),
            (OPTIONS, "options", "{}/latest"),
            (CRYPTO, "crypto", "latest/{}"),
        )
        for path, what in [
            *((latest.format(what), f"latest {what}") for what in ("quotes", "trades", "bars")),
            *((what, what) for what in ("bars", "quotes", "trades", "snapshots")),
        ]
    ),
    ("GET", f"{STOCKS}/([^/]+)/bars", _data("stocks", "bars")),
    ("GET", f"{OPTIONS}/snapshots/([^/]+)", get_chain),
    *controls.TABLE,
]
COMPILED = [(method, re.compile(pattern), route) for method, pattern, route in TABLE]


def route(method: str, path: str) -> tuple[Callable[[Request], Answer], tuple[str, ...]]:
    """What answers a request, and what its path says.

    Errors   Refused.
    """
    others = False
    for verb, pattern, answer in COMPILED:
        if found := pattern.fullmatch(path):
            if verb == method:
                return answer, found.groups()
            others = True
    raise Refused(405, 40510000, "method not allowed") if others else Refused(404, 40410000, "endpoint not found.")
