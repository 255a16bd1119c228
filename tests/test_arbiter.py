"""What becomes of several methods' proposals together."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from transforms.exact import nano_shares
from transforms.lots.relief import read_picks
from transforms.orders.arbiter import Netted, Proposed, Sleeve, arbitrate

RANK = ("hand", "harvest", "bands")
EVERYTHING = Sleeve("all", "bands", frozenset(), frozenset(), harvests=True)


def trade(
    proposal: str,
    method: str,
    side: str,
    security: str,
    quantity: str = "10",
    account: str = "joint",
    lots: str = "",
    saved: str = "0",
) -> Proposed:
    return Proposed(
        proposal,
        method,
        account,
        side,
        security,
        Decimal(quantity),
        Decimal(100),
        lots,
        Decimal(0),
        Decimal(saved),
        f"why {proposal}",
    )


def nothing(kept: Sequence[Proposed]) -> Mapping[int, str]:
    return {}


def decided(
    *trades: Proposed, sleeves: Sequence[Sleeve] = (EVERYTHING,), washes=nothing, identical=None
) -> tuple[list[Netted], dict[str, str]]:
    proposals: dict[str, list[Proposed]] = {}
    for one in trades:
        proposals.setdefault(one.proposal, []).append(one)
    return arbitrate(proposals, sleeves, RANK, identical or {}, washes)


def washed_by_any_purchase(kept: Sequence[Proposed]) -> Mapping[int, str]:
    """A sale is washed by a purchase of the same security in any account, as the household's books have it."""
    bought = {one.security_id for one in kept if one.side == "buy"}
    sold = {one.security_id for one in kept if one.side == "sell"}
    return {i: "would be washed" for i, one in enumerate(kept) if one.security_id in bought & sold}


def test_a_sleeve_is_traded_by_its_own_method_and_by_no_other():
    ira = Sleeve("retirement", "cash_flow", frozenset({"ira"}), frozenset(), harvests=False)
    orders, refused = decided(
        trade("a", "bands", "buy", "VTI", account="ira"), trade("b", "bands", "buy", "VTI"), sleeves=(ira, EVERYTHING)
    )
    assert [(o.account_id, o.security_id) for o in orders] == [("joint", "VTI")]
    assert refused == {"a": "VTI in ira is the sleeve retirement, which cash_flow trades"}


def test_harvests_and_a_persons_own_orders_go_besides_the_method_of_a_sleeve():
    orders, refused = decided(trade("h", "harvest", "sell", "HD"), trade("w", "hand", "buy", "LOW"))
    assert {o.method for o in orders} == {"harvest", "hand"} and not refused


def test_a_sleeve_that_is_not_harvested_keeps_its_losses():
    kept = Sleeve("heirlooms", "none", frozenset(), frozenset({"KO"}), harvests=False)
    orders, refused = decided(trade("h", "harvest", "sell", "KO"), sleeves=(kept,))
    assert orders == [] and refused == {"h": "KO in joint is the sleeve heirlooms, which is not harvested"}


def test_of_two_that_want_opposite_things_the_one_of_higher_rank_is_done():
    orders, refused = decided(trade("b", "bands", "buy", "HD"), trade("h", "harvest", "sell", "HD"))
    assert [(o.method, o.side) for o in orders] == [("harvest", "sell")]
    assert refused == {"b": "buy HD against the harvest that is to sell HD in joint"}


def test_a_share_class_counts_as_the_same_security():
    orders, refused = decided(
        trade("h", "harvest", "sell", "GOOG"),
        trade("b", "bands", "buy", "GOOGL"),
        identical={"GOOG": "alphabet", "GOOGL": "alphabet"},
    )
    assert [o.security_id for o in orders] == ["GOOG"]
    assert refused == {"b": "buy GOOGL against the harvest that is to sell GOOG in joint"}


def test_a_harvest_that_a_purchase_of_the_same_batch_in_an_ira_would_wash_is_left_out():
    pair = [trade("h", "harvest", "sell", "HD", saved="500"), trade("h", "harvest", "buy", "LOW")]
    orders, refused = decided(*pair, trade("b", "bands", "buy", "HD", account="ira"), washes=washed_by_any_purchase)
    assert [(o.account_id, o.side, o.security_id) for o in orders] == [("ira", "buy", "HD")]
    assert refused == {"h": "would be washed"}


def test_a_purchase_that_is_only_for_tax_gives_way_to_the_harvest_that_it_would_wash():
    move = Sleeve("all", "location", frozenset(), frozenset(), harvests=True)
    harvest, bought = trade("h", "harvest", "sell", "HD"), trade("m", "location", "buy", "HD", account="ira")
    orders, refused = decided(harvest, bought, sleeves=(move,), washes=washed_by_any_purchase)
    assert [o.method for o in orders] == ["harvest"] and set(refused) == {"m"}


def test_a_purchase_that_would_wash_a_loss_of_earlier_days_is_left_out():
    orders, refused = decided(
        trade("b", "bands", "buy", "HD"), trade("c", "bands", "buy", "KO"),
        washes=lambda kept: {i: "washes last week's loss" for i, one in enumerate(kept) if one.security_id == "HD"},
    )  # fmt: skip
    assert [o.security_id for o in orders] == ["KO"] and refused == {"b": "washes last week's loss"}


def test_trades_of_one_security_on_one_side_become_one_order():
    orders, _ = decided(
        trade("h", "harvest", "sell", "HD", "10", lots="a:10"), trade("h", "harvest", "buy", "LOW", "4"),
        trade("b", "bands", "sell", "HD", "5", lots="a:2;b:3"), trade("c", "bands", "buy", "LOW", "6"),
    )  # fmt: skip
    assert [(o.side, o.security_id, o.quantity, o.lots, o.method) for o in orders] == [
        ("sell", "HD", Decimal(15), "a:12;b:3", "harvest, bands"),
        ("buy", "LOW", Decimal(10), "", "harvest, bands"),
    ]


def test_proposals_that_share_an_order_go_together_or_not_at_all():
    orders, _ = decided(
        trade("h", "harvest", "sell", "HD"), trade("h", "harvest", "buy", "LOW"),
        trade("g", "harvest", "sell", "KO"), trade("g", "harvest", "buy", "LOW"),
        trade("b", "bands", "sell", "XOM"),
    )  # fmt: skip
    pairs = {o.security_id: o.pair for o in orders}
    assert pairs["HD"] == pairs["LOW"] == pairs["KO"] != pairs["XOM"]


def test_lots_that_one_of_them_leaves_to_the_broker_are_left_to_the_broker():
    orders, _ = decided(trade("h", "harvest", "sell", "HD", lots="a:10"), trade("b", "bands", "sell", "HD"))
    assert orders[0].lots == ""


trades = st.builds(
    trade,
    st.sampled_from([f"p{i}" for i in range(6)]),
    st.sampled_from(RANK),
    st.sampled_from(["buy", "sell"]),
    st.sampled_from(["HD", "LOW", "KO"]),
    st.integers(1, 50).map(str),
    st.sampled_from(["joint", "ira"]),
)


@given(st.lists(trades, max_size=12))
def test_what_is_decided_is_what_was_proposed_and_not_refused_and_nothing_is_traded_both_ways(proposed):
    method = {one.proposal: one.method for one in reversed(proposed)}
    proposed = [one._replace(method=method[one.proposal]) for one in proposed]
    orders, refused = decided(*proposed, washes=washed_by_any_purchase)
    for key in {(one.account_id, one.security_id, one.side) for one in proposed}:
        wanted = sum(
            one.quantity
            for one in proposed
            if (one.account_id, one.security_id, one.side) == key and one.proposal not in refused
        )
        made = [one.quantity for one in orders if (one.account_id, one.security_id, one.side) == key]
        assert sum(made) == wanted and len(made) <= 1
    sides: dict[tuple[str, str], set[str]] = {}
    for one in orders:
        sides.setdefault((one.account_id, one.security_id), set()).add(one.side)
    assert not washed_by_any_purchase([one for one in proposed if one.proposal not in refused])
    assert {one.proposal for one in proposed} >= set(refused)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 9)), min_size=1, max_size=5))
def test_netted_lots_add_up(picks):
    sales = [
        trade(f"p{i}", "harvest", "sell", "HD", str(quantity), lots=f"{lot}:{quantity}")
        for i, (lot, quantity) in enumerate(picks)
    ]
    orders, _ = decided(*sales)
    assert sum(quantity for _, quantity in read_picks(orders[0].lots)) == nano_shares(orders[0].quantity)
