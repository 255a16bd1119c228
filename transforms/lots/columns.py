"""A household's plain trades as a frame in, its books as frames out: `book.py` for millions of trades.

The problem. Ten million trades as Python objects take minutes to make, whatever the engine does with them.

The choice. Columns from end to end. This module puts the trades into the order that `compiled.py` needs, with as
little sorting as the file allows (a file that is in order already is only looked at), and turns what comes back into
frames that hold what `Books` holds, in the same order of rows. Strings are compared only where the day and the time
leave two trades equal, and only if they do not stand in the order of their ids already.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from transforms.exact import MOST_CENTS, MOST_NANO, NANO, shares_text
from transforms.lots import compiled
from transforms.lots.book import book
from transforms.lots.compiled import PICK
from transforms.lots.groups import families, united
from transforms.lots.relief import trade_order
from transforms.lots.rules import Rules
from transforms.model import Action, Books, Event, Exercise, Trade

TRADES = {
    "trade_id": pl.String, "account_id": pl.String, "security_id": pl.String, "is_buy": pl.Boolean,
    "quantity": pl.Int64, "amount": pl.Int64, "traded_on": pl.Date, "traded_at": pl.Time, "is_deferred": pl.Boolean,
}  # fmt: skip
PICKS = {"trade": pl.Int64, "lot_id": pl.String, "quantity": pl.Int64}
NO_PICKS = pl.DataFrame(schema=PICKS)


class FrameBooks(NamedTuple):
    """`Books` in frames: the columns are the fields of Disposal, Lot, WashSale and Refused, the rows in their order.

    Texts that come again and again (account, security, term, rule) are Enum columns.
    """

    disposals: pl.DataFrame
    lots: pl.DataFrame
    wash_sales: pl.DataFrame
    refused: pl.DataFrame


def book_events(
    trades: pl.DataFrame, picks: pl.DataFrame, others: Sequence[Event], rules: Rules, identical: Mapping[str, str]
) -> FrameBooks:
    """Book plain trades together with other events: `book` of all of them, in frames.

    The families of securities that other events have to do with go through `book`, all the rest through `book_columns`.

    Order    that of `book`; but for `refused`, which has no order.
    Shape    `trades` and `picks` as in `book_columns`.
    Errors   as `book_columns`.
    """
    if not others:
        return book_columns(trades, rules, identical, picks)
    groups = united(sorted(others, key=trade_order), identical)
    touched = {groups.get(security, security) for event in others for security in _securities(event)}
    securities = trades["security_id"].unique()
    apart = [security for security in securities if groups.get(security, security) in touched]
    trades = trades.with_row_index("row").with_columns(pl.col("security_id").is_in(apart).alias("is_apart"))
    rest = trades.filter(~pl.col("is_apart"))
    events = [*others, *_trades(trades.filter("is_apart"), picks)]
    books = book(events, rules, identical)
    numbered = rest.select(pl.col("row").cast(pl.Int64).alias("trade"), pl.int_range(pl.len()).alias("new"))
    kept = picks.join(numbered, on="trade", how="inner", maintain_order="left").select(
        trade="new", lot_id="lot_id", quantity="quantity"
    )
    return _merged(book_columns(rest, rules, identical, kept), rest, books, events, rules, groups)


def book_columns(
    trades: pl.DataFrame, rules: Rules, identical: Mapping[str, str] | None = None, picks: pl.DataFrame = NO_PICKS
) -> FrameBooks:
    """Book a household's plain trades, as `book` does.

    Law      that of `book`.
    Order    that of `book`, rows of the frames included.
    Shape    `TRADES`, in any order of rows, each trade_id once; `replaces` (Boolean) beside them says which buys may
             replace a loss, all without it. `PICKS`: `trade` is the row of the sale, from 0; the picks of one sale in
             their order.
    Units    nano-shares and cents, in and out.
    Errors   OverflowError for what 64 bits cannot hold exactly: quantities and holdings from 2^62 nano-shares, amounts
             and bases from 2^50 cents; ValueError for a quantity that is not above zero.
    Omits    everything but purchases and sales of shares that are owned, first in, first out or picked: that is for
             `book`.
    """
    _check(trades, "quantity", 1, MOST_NANO - 1)
    _check(picks, "quantity", 1, MOST_NANO - 1)
    _check(trades, "amount", 1 - MOST_CENTS, MOST_CENTS - 1)
    ids, is_buy, is_deferred = trades["trade_id"], _array(trades["is_buy"]), _array(trades["is_deferred"])
    day = _array(trades["traded_on"].to_physical())
    accounts, securities = (trades[name].unique().sort() for name in ("account_id", "security_id"))
    trades = trades.with_columns(  # texts that come again and again, as the numbers of their order
        pl.col("account_id").cast(pl.Enum(accounts)), pl.col("security_id").cast(pl.Enum(securities))
    )
    account, security = (_array(trades[name].to_physical()) for name in ("account_id", "security_id"))
    holdings, holding = _dense(account.astype(np.int64) * len(securities) + security, len(accounts) * len(securities))

    order = _trade_order(trades, ids, is_buy, is_deferred, day, rules)
    turn, group_end = np.arange(len(order)), np.array([len(order)])
    if len(securities) > 1:
        group = _groups(securities, identical or {})[security]
        turn, group_end = _by_group(group[order], is_buy[order])
        order = order[turn]
    is_buy, is_deferred, day, holding = is_buy[order], is_deferred[order], day[order], holding[order]
    quantity, amount = _array(trades["quantity"])[order], _array(trades["amount"])[order]
    replaces = _array(trades["replaces"])[order] if "replaces" in trades.columns else np.ones(len(order), np.bool_)

    buys = np.flatnonzero(is_buy)
    lot_at = compiled.stable_order(holding[buys], holdings)
    if trades["traded_at"].null_count() < len(trades):  # else trades of one day are in the order of their ids already
        lot_at = _by_id(lot_at, [holding[buys], day[buys]], ids.gather(order[buys]))
    slot = np.empty(len(buys), np.int64)
    slot[lot_at] = np.arange(len(buys))
    first_slot = np.zeros(holdings + 1, np.int64)
    np.cumsum(np.bincount(holding[buys], minlength=holdings), out=first_slot[1:])

    picked = _picks(picks, order, ids, buys, slot)
    trouble, where, takes, take_end, refusals = compiled.relieve(
        is_buy, is_deferred, quantity, holding, slot, lot_at, first_slot, picked, *compiled.members(len(buys)),
        *compiled.relief_room(len(order), len(buys), len(picked)),
    )  # fmt: skip
    if trouble:
        raise OverflowError(f"{ids[int(order[where])]}: its account holds 2^62 nano-shares or more")
    trouble, where, sold, washed, left = compiled.wash(
        is_buy, is_deferred, replaces, quantity, amount, day, group_end, takes, take_end, lot_at,
        rules.window_days, rules.presale_held_to_day_end, rules.older_lot_replaces, *compiled.members(len(buys)),
        *compiled.wash_room(len(buys), len(takes)),
    )  # fmt: skip
    if trouble:
        raise OverflowError(f"{ids[int(order[where])]}: a basis with its disallowed losses is 2^50 cents or more")
    order = order.astype(np.uint32)  # what polars counts rows with
    row_of_lot = order[buys]
    return FrameBooks(
        _disposals(trades, sold, order, row_of_lot, day),
        _lots(trades, left, row_of_lot),
        _wash_sales(trades, washed, order, row_of_lot),
        _refused(trades, refusals[np.argsort(turn[refusals["trade"]])], order, picks, picked),
    )


def _securities(event: Event) -> Iterator[str]:
    yield event.security_id
    if isinstance(event, Action) and event.new_security_id:
        yield event.new_security_id
    if isinstance(event, Trade | Exercise) and event.option is not None:
        yield event.option.underlying_id


def _trades(rows: pl.DataFrame, picks: pl.DataFrame) -> Iterator[Trade]:
    """Rows as the trades that `book` takes."""
    picked: dict[int, list[tuple[str, int]]] = {}
    for trade, lot_id, quantity in picks.iter_rows():
        picked.setdefault(trade, []).append((lot_id, quantity))
    for row, replaces, *said in rows.select("row", "replaces", *TRADES).iter_rows():
        yield Trade(*said)._replace(picks=tuple(picked.get(row, ())), replaces=replaces)


def _merged(
    columns: FrameBooks,
    rest: pl.DataFrame,
    books: Books,
    events: Sequence[Event],
    rules: Rules,
    groups: Mapping[str, str],
) -> FrameBooks:
    """Both books in the order in which `book` would have them: families by their first event."""
    order = partial(trade_order, taxable_first=rules.same_time_taxable_first)
    group = pl.col("security_id").replace(dict(groups)).alias("group")
    bought = rest.filter("is_buy").with_columns(group)
    bought = bought.filter(pl.col("traded_on") == pl.col("traded_on").min().over("group"))
    first: dict[str, tuple] = {}  # of each group that was booked in columns
    for name, trade in zip(bought["group"], _trades(bought, NO_PICKS), strict=True):
        first[name] = min(first.get(name, order(trade)), order(trade))
    refused = {row.trade_id for row in books.refused}
    happened = sorted((event for event in events if event.trade_id not in refused), key=order)
    begun = {event.trade_id: order(family[0]) for family in families(happened, groups) for event in family}
    rank = {key: place for place, key in enumerate(sorted({*first.values(), *begun.values()}))}
    ranks = pl.concat(
        [
            rest.select(
                "trade_id", group.replace_strict({name: rank[key] for name, key in first.items()}, default=None)
            ),
            pl.DataFrame({"trade_id": begun.keys(), "group": [rank[key] for key in begun.values()]}),
        ],
        how="vertical_relaxed",
    )
    frames = []
    tables: tuple[list[Any], ...] = (books.disposals, books.lots, books.wash_sales, books.refused)
    for frame, rows in zip(columns, tables, strict=True):
        texts = frame.with_columns(pl.col(pl.Enum).cast(pl.String))
        frames.append(pl.concat([texts, pl.DataFrame(rows, texts.schema, orient="row")]))
    disposals, lots, wash_sales, refusals = frames
    return FrameBooks(
        _by_rank(disposals, ranks, ["sold_on", "group"]),
        lots.sort("account_id", "security_id", "acquired_on", "lot_id", maintain_order=True),
        _by_rank(wash_sales, ranks, ["group"]),
        refusals,
    )


def _by_rank(rows: pl.DataFrame, ranks: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    ranked = rows.join(ranks, on="trade_id", how="left", maintain_order="left")
    return ranked.sort(keys, maintain_order=True).drop("group")


def _check(rows: pl.DataFrame, name: str, least: int, most: int) -> None:
    if not len(rows):
        return
    smallest, largest = rows.select(pl.col(name).min().alias("least"), pl.col(name).max().alias("most")).row(0)
    if smallest < least == 1:
        raise ValueError(f"a {name} of {smallest} is not above zero")
    if smallest < least or largest > most:
        raise OverflowError(f"a {name} is beyond {most:,}, and more than 64 bits hold exactly when it is shared out")


def _array(column: pl.Series) -> Any:
    return column.to_numpy()


def _dense(codes: Any, count: int) -> tuple[int, Any]:
    """Codes below `count` as numbers without gaps, in the same order: how many, and for each row which."""
    if count > 4 * len(codes) + 1000:
        found, dense = np.unique(codes, return_inverse=True)
        return len(found), dense
    used = np.zeros(count, np.bool_)
    used[codes] = True
    return int(used.sum()), (np.cumsum(used) - 1)[codes]


def _groups(securities: pl.Series, identical: Mapping[str, str]) -> Any:
    """For each security the number of its group of identical ones."""
    numbers: dict[str, int] = {}
    names = (identical.get(security, security) for security in securities)
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def _trade_order(trades: pl.DataFrame, ids: pl.Series, is_buy: Any, is_deferred: Any, day: Any, rules: Rules) -> Any:
    """The rows in `relief.trade_order`: all of it but the id is one number of 63 bits."""
    key = day.astype(np.int64) - compiled.FIRST_DAY
    last = is_buy & (is_deferred == rules.same_time_taxable_first)
    if trades["traded_at"].null_count() < len(trades):
        at = _array((trades["traded_at"].to_physical() // 1000).fill_null(-1))
        key = (key << 2 | np.where(at >= 0, 1, np.where(is_buy, 0, 2))) << 37 | np.maximum(at, 0)
    key = key << 2 | ~is_buy << 1 | last
    if (key[1:] >= key[:-1]).all():
        return _by_id(np.arange(len(key)), [key], ids)
    return _by_id(np.argsort(key, kind="stable"), [key], ids)


def _by_id(order: Any, keys: list[Any], ids: pl.Series) -> Any:
    """Put rows that are equal in all keys, and stand together in `order`, into the order of their ids."""
    if len(order) < 2:
        return order
    same = np.ones(len(order) - 1, np.bool_)
    for key in keys:
        ordered = key[order]
        same &= ordered[1:] == ordered[:-1]
    named = ids.gather(order)
    wrong = same & (named.slice(1) < named.slice(0, len(order) - 1)).to_numpy()
    if not wrong.any():
        return order
    run = np.concatenate(([0], np.cumsum(~same)))
    is_wrong = np.zeros(run[-1] + 1, np.bool_)
    is_wrong[run[1:][wrong]] = True
    places = np.flatnonzero(is_wrong[run])
    rank = named.gather(places).rank("ordinal").to_numpy()
    order = order.copy()
    order[places] = order[places[np.lexsort((rank, run[places]))]]
    return order


def _by_group(group: Any, is_buy: Any) -> tuple[Any, Any]:
    """Trades by group, the group that buys first standing first, and the end of each group."""
    groups = int(group.max()) + 1
    first_buy = np.full(groups, len(group))
    bought = np.flatnonzero(is_buy)[::-1]
    first_buy[group[bought]] = bought  # the last one written is the first in time
    number = np.empty(groups, np.int64)
    number[np.argsort(first_buy, kind="stable")] = np.arange(groups)
    numbered = number[group]
    return compiled.stable_order(numbered, groups), np.cumsum(np.bincount(numbered, minlength=groups))


def _picks(picks: pl.DataFrame, order: Any, ids: pl.Series, buys: Any, slot: Any) -> Any:
    """The picks by sale, then by acquisition; a lot that nobody bought is -1."""
    picked = np.zeros(len(picks), PICK)
    if not len(picks):
        return picked
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    bought = pl.DataFrame({"lot_id": ids.gather(order[buys]), "lot": np.arange(len(buys))})
    picked["lot"] = picks.join(bought, on="lot_id", how="left", maintain_order="left")["lot"].fill_null(-1).to_numpy()
    picked["trade"], picked["quantity"] = place[picks["trade"].to_numpy()], picks["quantity"].to_numpy()
    picked["place"] = np.arange(len(picks))
    by_slot = np.where(picked["lot"] >= 0, slot[picked["lot"]] if len(slot) else 0, -1)
    return picked[np.lexsort((picked["place"], by_slot, picked["trade"]))]


def _columns(rows: Any, order: Any = None) -> dict[str, Any]:
    order = np.arange(len(rows)) if order is None else order
    made = np.empty((len(rows.dtype), len(rows)), np.int64)
    compiled.lay_out(rows.view(np.int64).reshape(len(rows), len(made)), order, made)
    return dict(zip(rows.dtype.names, made, strict=True))


def _disposals(trades: pl.DataFrame, sold: Any, order: Any, row_of_lot: Any, day: Any) -> pl.DataFrame:
    by_day = None
    sold_on = day[sold["trade"]]
    if len(sold_on) and (sold_on[1:] < sold_on[:-1]).any():
        first = sold_on.min()
        by_day = compiled.stable_order(sold_on - first, int(sold_on.max() - first) + 1)
        sold_on = sold_on[by_day]
    of = _columns(sold, by_day)
    sale, buy = order[of["trade"]], row_of_lot[of["lot"]]
    return pl.DataFrame(
        {
            "trade_id": trades["trade_id"].gather(sale),
            "lot_id": trades["trade_id"].gather(buy),
            "account_id": trades["account_id"].gather(sale),
            "security_id": trades["security_id"].gather(sale),
            "quantity": of["quantity"],
            "acquired_on": trades["traded_on"].gather(buy),
            "holding_since": _dates(of["since"]),
            "sold_on": _dates(sold_on),
            **{name: of[name] for name in ("proceeds", "basis", "disallowed", "permanent")},
            "term": _terms(of["since"], sold_on),
        }
    )


def _lots(trades: pl.DataFrame, left: Any, row_of_lot: Any) -> pl.DataFrame:
    of = _columns(left)
    buy = row_of_lot[of["lot"]]
    return pl.DataFrame(
        {
            "lot_id": trades["trade_id"].gather(buy),
            "account_id": trades["account_id"].gather(buy),
            "security_id": trades["security_id"].gather(buy),
            "quantity": of["quantity"],
            "acquired_on": trades["traded_on"].gather(buy),
            "holding_since": _dates(of["since"]),
            "basis": of["basis"],
            "is_deferred": trades["is_deferred"].gather(buy),
        }
    )


def _wash_sales(trades: pl.DataFrame, washed: Any, order: Any, row_of_lot: Any) -> pl.DataFrame:
    day_of_row = _array(trades["traded_on"].to_physical())
    of = _columns(washed)
    sale, buy = order[of["trade"]], row_of_lot[of["lot"]]
    in_deferred, quantity = _array(trades["is_deferred"])[buy], pl.Series(of["quantity"])
    return pl.DataFrame(
        {
            "trade_id": trades["trade_id"].gather(sale),
            "sold_lot_id": trades["trade_id"].gather(row_of_lot[of["sold_lot"]]),
            "replacement_lot_id": trades["trade_id"].gather(buy),
            "quantity": quantity,
            "disallowed": of["disallowed"],
            "permanent": of["disallowed"] * in_deferred,
            "days": (day_of_row[buy] - day_of_row[sale]).astype(np.int64),
            "rule": pl.Series(in_deferred).cast(pl.UInt8).cat.to(pl.Enum(["purchase", "deferred"])),
            "replacement_quantity": quantity,
        }
    )


def _refused(trades: pl.DataFrame, refusals: Any, order: Any, picks: pl.DataFrame, picked: Any) -> pl.DataFrame:
    """The sales that cannot be booked, in the words of `relief.py`; in `trade_order` of the whole household."""
    rows = []
    for one in refusals:
        trade = trades.row(int(order[one["trade"]]), named=True)
        why, pick, quantity = (int(one[name]) for name in ("why", "pick", "quantity"))
        lot_id = (
            picks["lot_id"][int(picked["place"][pick])] if why in (compiled.NOT_OPEN, compiled.MORE_THAN_LEFT) else ""
        )
        rows.append((trade["trade_id"], _reason(trade, lot_id, why, quantity)))
    return pl.DataFrame(rows, {"trade_id": pl.String, "reason": pl.String}, orient="row")


def _reason(trade: Mapping[str, Any], lot_id: str, why: int, quantity: int) -> str:
    account, security = trade["account_id"], trade["security_id"]
    if why == compiled.OVERSELL:
        held, missing = _short(quantity), _short(trade["quantity"] - quantity)
        return f"oversell: {account} holds {held} of {security} on {trade['traded_on']}, {missing} too few"
    if why == compiled.DO_NOT_ADD_UP:
        return "its lots do not add up to the quantity sold"
    if why == compiled.NOT_OPEN:
        return f"lot {lot_id} is not an open lot of {security} in {account}"
    return f"takes more from lot {lot_id} than is left: {_short(quantity)} missing"


def _short(nano: int) -> str:
    return f"{shares_text(nano)} share" + ("" if nano == NANO else "s")


def _dates(days: Any) -> pl.Series:
    return pl.Series(days.astype(np.int32)).cast(pl.Date)


def _terms(since: Any, sold_on: Any) -> pl.Series:
    """`term`, for many: the first long-term day is looked up for each day on which a holding starts."""
    first, last = (int(since.min()), int(since.max())) if len(since) else (0, 0)
    start = np.arange(first + 1, last + 2).astype("datetime64[D]")  # the first day that is counted
    month = start.astype("datetime64[M]")
    long_from = (month + 12).astype("datetime64[D]") + (start - month)  # from 29 February it runs over into 1 March
    is_long = sold_on >= long_from.astype(np.int64)[since - first]
    return pl.Series(is_long).cast(pl.UInt8).cat.to(pl.Enum(["short", "long"]))
