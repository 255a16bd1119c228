"""What the gates look at, read from the warehouse and the policy: `gather` for some lines, and the gates over them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal

from flows.account_evidence import Sent, accounts, sent
from flows.accounts import Account
from flows.day import Day
from flows.pre_trade import Known, known
from flows.propose import unsafe_accounts
from transforms.exact import nano_shares, trade_cents
from transforms.harvest.scan import unseen
from transforms.lots.check import Effect
from transforms.lots.relief import read_picks
from transforms.lots.rules import Rules, purchase_replaces
from transforms.model import Option, Trade
from transforms.orders.evidence import ZERO, Evidence, Key, Line, Policy, Refusal, Security
from transforms.orders.gates import held_back
from transforms.orders.identity import client_order_id
from transforms.orders.options import PER, contract
from warehouse.db import Warehouse

VOLUME_SESSIONS = 20


def held_back_by_gates(
    warehouse: Warehouse, day: Day, lines: list[Line], session_on: date, stopped: str = ""
) -> list[Refusal]:
    """Every refusal, see `held_back`; `stopped` says of a kill switch that the caller knows of."""
    books = known(warehouse, day, session_on)
    return held_back(lines, lambda some: _gathered(warehouse, day, some, session_on, stopped, books))


def gather(warehouse: Warehouse, day: Day, lines: Sequence[Line], session_on: date, stopped: str = "") -> Evidence:
    """Everything that the gates look at, for these lines; `session_on` is the session of a broker that keeps no time."""
    return _gathered(warehouse, day, lines, session_on, stopped, known(warehouse, day, session_on))


def _gathered(
    warehouse: Warehouse, day: Day, lines: Sequence[Line], session_on: date, stopped: str, books: Known
) -> Evidence:
    orders = sent(warehouse, session_on)
    washed, washed_in_part = _washed(warehouse, day, lines, orders, books)
    pair_usd: dict[tuple[str, int], Decimal] = defaultdict(Decimal)
    for order in orders:
        pair_usd[order.line.pair_here] -= order.line.cash_usd
    gained = warehouse.rows(
        "SELECT term, sum(gain_usd)::DECIMAL(28, 6) FROM core.disposals WHERE sold_on = $on AND gain_usd > 0 GROUP BY term",
        on=session_on,
    )
    gained_usd = dict(gained.iter_rows())
    approved = warehouse.rows(
        "SELECT batch_id FROM ledger.approvals JOIN ledger.batches USING (batch_id, batch_hash) WHERE verdict = 'accepted'"
    )
    return Evidence(
        policy=_policy(day),
        accounts=accounts(warehouse, day, session_on, orders),
        securities=_securities(warehouse, day, {line.security_id for line in lines}),
        stopped="; ".join(filter(None, (_stop_file(day), stopped))),
        drawdown=warehouse.value("SELECT value FROM core.risk WHERE metric = 'drawdown'"),
        washed=washed,
        washed_in_part=washed_in_part,
        unseen=_unseen(warehouse, day, {line.security_id for line in lines if "harvest" in line.method}),
        approved=frozenset(approved["batch_id"]),
        sent_usd=sum((order.line.value_usd for order in orders), ZERO),
        pair_usd=pair_usd,
        gained_usd=(gained_usd.get("short", ZERO), gained_usd.get("long", ZERO)),
    )  # fmt: skip


def _unseen(warehouse: Warehouse, day: Day, harvested: set[str]) -> dict[str, str]:
    """Harvests that a purchase in an account whose source is unsound could wash, whatever it was when they were decided."""
    unsafe, identical = unsafe_accounts(warehouse, day) if harvested else [], day.settings.portfolio.cautious_groups
    return {name: why for name in harvested if (why := unseen(name, unsafe, identical))}


def _stop_file(day: Day) -> str:
    return "the file STOP is there: remove it to trade again" if (day.settings.home / "STOP").exists() else ""


def _policy(day: Day) -> Policy:
    portfolio = day.settings.portfolio
    gates = portfolio.gates
    return Policy(
        Decimal(str(gates.max_order_weight)), Decimal(str(gates.max_position_weight)), Decimal(str(gates.max_volume_rate)),
        Decimal(str(gates.max_daily_turnover)), gates.max_daily_short_gain_usd, gates.max_daily_long_gain_usd,
        gates.max_price_age_sessions, gates.max_price_move, portfolio.risk.max_drawdown, portfolio.wash_limits,
        frozenset(gates.do_not_trade),
    )  # fmt: skip


# Prices, and the pre-trade check ----------------------------------------------------------------------


def _securities(warehouse: Warehouse, day: Day, names: set[str]) -> dict[str, Security]:
    """Volume is measured in dollars, which a split leaves as they are."""
    volumes = dict(
        warehouse.rows(
            "WITH day AS (SELECT symbol, session_on, volume, coalesce(close_usd, adjusted_close_usd) AS price FROM raw.prices "
            "  WHERE symbol IN (SELECT unnest($names::VARCHAR[])) AND session_on > $after AND session_on <= $as_of "
            "  QUALIFY row_number() OVER (PARTITION BY symbol, session_on ORDER BY delivery_id DESC) = 1), "
            "newest AS (SELECT * FROM day WHERE volume IS NOT NULL AND isfinite(price) "
            "  QUALIFY row_number() OVER (PARTITION BY symbol ORDER BY session_on DESC) <= $count) "
            "SELECT symbol, round(avg(volume * price), 2)::DECIMAL(28, 2) FROM newest GROUP BY symbol",
            names=sorted(names),
            after=day.as_of - timedelta(days=2 * VOLUME_SESSIONS),
            as_of=day.as_of,
            count=VOLUME_SESSIONS,
        ).iter_rows()
    )
    moves = warehouse.rows(
        "SELECT security_id, sessions_old, price_usd, (price_usd / previous_usd - 1)::DOUBLE FROM core.latest_prices"
    )
    return {
        name: Security(old, _move(price, move, (day.quotes or {}).get(name)), volumes.get(name))
        for name, old, price, move in moves.iter_rows()
        if name in names
    }


def _move(price_usd: Decimal, move: float, live_usd: Decimal | None) -> float:
    """The larger of two moves: to the last close, and from it to the live price where there is one."""
    return max(move, float(live_usd / price_usd) - 1, key=abs) if live_usd else move


def _washed(
    warehouse: Warehouse, day: Day, lines: Sequence[Line], orders: Sequence[Sent], books: Known
) -> tuple[dict[Key, Effect], dict[Key, str]]:
    """The pre-trade check over the whole batch and what is under way, every account together; and why not, in part.

    Purchases that are under way are among those known to come. A line of nothing, or of an account that is gone, is left out.
    One of which a part was sent is to be finished: that it might have been filled in part is no reason any more.
    """
    described = {account.id: account for account in day.settings.portfolio.accounts}
    kinds = dict(warehouse.rows("SELECT security_id, kind FROM stg.securities").iter_rows())
    prices = dict(warehouse.rows("SELECT security_id, price_usd FROM core.latest_prices").iter_rows())
    held: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for account_id, security_id, quantity in warehouse.rows(
        "SELECT account_id, security_id, quantity FROM mart.positions"
    ).iter_rows():
        held[account_id, security_id] = quantity

    def trade(line: Line, name: str) -> Trade:
        of = line.account_id, line.security_id
        return _trade(name, line, described[of[0]], held[of], kinds.get(of[1], ""), books.rules, prices)

    asked = {client_order_id(*x.key): x for x in lines if x.account_id in described and x.quantity > 0}
    selling = [order.left for order in orders if order.left.side == "sell" and order.left.quantity > 0]
    trades = {name: trade(line, name) for name, line in asked.items()}
    under_way = [trade(line, f"under way {n}") for n, line in enumerate(selling) if line.account_id in described]
    told = books.effects([*trades.values(), *under_way])
    begun = {order.line.key for order in orders}
    whole = [trades[name] for name, line in asked.items() if line.key not in begun]
    in_part = books.beyond_in_part(whole, day.settings.portfolio.wash_limits)
    return (
        {line.key: told[name] for name, line in asked.items()},
        {line.key: in_part[name] for name, line in asked.items() if name in in_part},
    )


def _trade(
    name: str, line: Line, account: Account, held: Decimal, kind: str, rules: Rules, prices: Mapping[str, Decimal]
) -> Trade:
    """A line as the ledger would see it once it is filled at its price."""
    is_buy, found = line.side == "buy", contract(line.security_id)
    stands = account.standing_since is not None and account.standing_since <= line.session_on
    is_average = account.relief == "average" and kind == "fund"
    return Trade(
        name, line.account_id, line.security_id, is_buy, nano_shares(line.quantity),
        trade_cents(line.quantity * (PER if found else 1), line.price_usd, Decimal(0)), line.session_on, None,
        account.is_deferred, read_picks(line.lots),
        "average" if is_average else account.standing if stands else "fifo",
        purchase_replaces(rules, account.type, account.owner),
        is_short=held < 0 if is_buy else held <= 0, is_digital=kind == "digital_asset",
        option=_written(found.option, is_buy, rules, prices) if found else None,
    )  # fmt: skip


def _written(option: Option, is_buy: bool, rules: Rules, prices: Mapping[str, Decimal]) -> Option:
    """A put that is written so deep in the money that it counts as a contract to acquire; so does one of unknown depth."""
    if is_buy or option.right == "call":
        return option
    price = prices.get(option.underlying_id, ZERO)
    return option._replace(is_deep=option.strike_usd >= price * rules.deep_put_moneyness)
