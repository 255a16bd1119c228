"""From what a class needs to trades of accounts: the pure desk."""

from collections.abc import Mapping
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.harvest.benefit import Rates
from transforms.portfolio.bands import CASH
from transforms.portfolio.desk import Account, Desk, OpenLot, Policy, Swap
from transforms.portfolio.trades import invest, raise_cash, swap, too_small

D = Decimal
RATES = Rates(D("0.29"), D("0.20"), D("0.29"), D(3000))
ANY = D(10**9)
IRA = Account(True, False, D("0.0001"), ANY)
FIFO = Account(False, False, D("0.0001"), ANY)
PICKED = Account(False, True, D("0.0001"), ANY)
WHOLE = Account(True, False, D(1), ANY)
OF = {"XOM": "Energy", "CVX": "Energy", "JPM": "Banks", "JNJ": "Health"}


def lot(account: str, security: str, lot_id: str, quantity: object, gain: object = 0, term: str = "long") -> OpenLot:
    gains = {"short": (D(str(gain)), D(0)), "long": (D(0), D(str(gain)))}[term]
    return OpenLot(account, security, OF[security], lot_id, D(str(quantity)), *gains)


def desk(
    accounts: Mapping[str, Account],
    *lots: OpenLot,
    choices: Mapping[tuple[str, str], list[str]] | None = None,
    distance: Mapping[str, int] | None = None,
    cushion: str = "0",
    least: int = 0,
    **more: object,
) -> Desk:
    """Every security is $100 a share."""
    everywhere = {(a, c): [s for s, of in OF.items() if of == c] for a in accounts for c in set(OF.values())}
    given_ = {
        "gains_usd": [D(0), D(0)],
        "gains_left_usd": [None, None],
        "turnover_left_usd": ANY,
        "position_left_usd": {},
    }
    return Desk(
        accounts=accounts, prices=dict.fromkeys(OF, D(100)), lots=lots,
        choices=everywhere if choices is None else choices,
        distance_usd={name: D(usd) for name, usd in (distance or {}).items()},
        policy=Policy(D(least), D(cushion), D(5)), rates=RATES, **(given_ | more),
    )  # type: ignore[arg-type] # fmt: skip


def sold(swaps: list[Swap]) -> dict[tuple[str, str], Decimal]:
    return {(one.account_id, lot_id): shares for one in swaps for sale in one.sales for lot_id, shares in sale.picks}


def bought(swaps: list[Swap]) -> dict[tuple[str, str], Decimal]:
    return {(one.account_id, it.security_id): it.quantity for one in swaps for it in one.purchases}


# Which lots -------------------------------------------------------------------------------------------


def test_a_class_is_sold_where_no_tax_is_due_before_a_gain_is_realised():
    made = swap(
        desk({"ira": IRA, "joint": PICKED}, lot("joint", "XOM", "J", 100, 2000), lot("ira", "XOM", "I", 60, 5000)),
        {"Energy": D(8000)}, {"Banks": D(8000)},
    )  # fmt: skip
    assert sold(made) == {("ira", "I"): D(60), ("joint", "J"): D(20)}
    assert [(one.account_id, one.tax_usd) for one in made] == [("ira", D(0)), ("joint", D("80.00"))]
    assert bought(made) == {("ira", "JPM"): D(60), ("joint", "JPM"): D(20)}, "the money stays in its account"


def test_the_broker_that_takes_lots_sells_those_of_least_tax_and_a_loss_before_all():
    lots = [lot("joint", "XOM", name, 10, gain, term) for name, gain, term in
            [("old", 500, "long"), ("young", 400, "short"), ("small", 100, "long"), ("loss", -50, "long")]]  # fmt: skip
    made = swap(desk({"joint": PICKED}, *lots), {"Energy": D(3500)}, {"Banks": D(3500)})
    assert list(sold(made).items()) == [
        (("joint", "loss"), D(10)), (("joint", "small"), D(10)), (("joint", "old"), D(10)), (("joint", "young"), D(5)),
    ]  # fmt: skip
    assert made[0].tax_usd == D("0.29") * 200 + D("0.20") * 550


def test_the_broker_that_relieves_first_in_first_out_sells_its_oldest_lot_whatever_it_costs():
    lots = [lot("joint", "XOM", "old", 10, 500), lot("joint", "XOM", "loss", 10, -500)]
    assert sold(swap(desk({"joint": FIFO}, *lots), {"Energy": D(1200)}, {"Banks": D(1200)})) == {
        ("joint", "old"): D(10), ("joint", "loss"): D(2),
    }  # fmt: skip


def test_what_cannot_be_placed_in_its_account_is_not_sold():
    choices = {("ira", "Banks"): [], ("joint", "Banks"): ["JPM"]}
    seen = desk(
        {"ira": IRA, "joint": PICKED}, lot("ira", "XOM", "I", 50), lot("joint", "XOM", "J", 50, 900), choices=choices
    )
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("joint", "J"): D(30)}
    assert [(one.account_id, one.reason) for one in seen.left_alone] == [
        ("ira", "nothing more that is below its target can be bought there")
    ]


def test_money_stays_in_cash_where_cash_is_below_its_target():
    [made] = swap(desk({"ira": IRA}, lot("ira", "XOM", "I", 50), choices={}), {"Energy": D(3000)}, {CASH: D(3000)})
    assert made.sold_usd == 3000 and not made.purchases


def test_whole_shares_are_traded_where_the_account_takes_no_others():
    made = swap(desk({"k": WHOLE}, lot("k", "XOM", "K", "50.5")), {"Energy": D(1234)}, {"Banks": D(1234)})
    assert sold(made) == {("k", "K"): D(12)} and bought(made) == {("k", "JPM"): D(12)}


def test_what_is_too_small_for_an_order_is_left():
    assert swap(desk({"ira": IRA}, lot("ira", "XOM", "I", 50), least=250), {"Energy": D(249)}, {"Banks": D(249)}) == []
    assert invest(desk({"ira": IRA}, distance={"Banks": -5000}, least=250), {"ira": D(249)}) == []


def test_cash_is_spent_on_fewer_classes_rather_than_in_orders_that_are_too_small():
    far = {"Energy": -5000, "Banks": -5000, "Health": -5000}
    made = invest(desk({"a": IRA}, distance=far, least=250), {"a": D(600)})
    assert bought(made) == {("a", "JPM"): D(3), ("a", "XOM"): D(3)}
    assert bought(invest(desk({"a": IRA}, distance=far, least=250), {"a": D(400)})) == {("a", "JPM"): D(4)}


def test_cash_goes_to_a_class_of_which_it_buys_a_share():
    seen = desk({"k": WHOLE}, distance={"Energy": -5000, "Banks": -4900})
    seen.prices = {**seen.prices, "XOM": D(900)}
    assert bought(invest(seen, {"k": D(600)})) == {("k", "JPM"): D(6)}


def test_no_order_is_below_a_dollar_whatever_the_policy_says():
    assert invest(desk({"a": IRA}, distance={"Energy": -5000}), {"a": D("0.99")}) == []
    seen = desk({"a": IRA}, lot("a", "XOM", "E", 50), lot("a", "JPM", "B", "0.009"), distance={"Banks": 9000})
    assert sold(raise_cash(seen, {"a": D("0.30")})) == {("a", "E"): D("0.01")}, "JPM is worth 90 cents"


def test_sales_that_are_too_small_an_order_are_named_all_swaps_of_a_security_together():
    lots = [lot("a", "XOM", "E", 10), lot("a", "CVX", "C", 10)]
    made = swap(desk({"a": IRA}, *lots, least=250), {"Energy": D("1000.40")}, {"Banks": D(2000)})
    assert sold(made) == {("a", "C"): D(10), ("a", "E"): D("0.0040")}
    assert too_small(made, D(250)) == [("a", "XOM")] and too_small(made * 700, D(250)) == []


def test_what_is_raised_for_a_withdrawal_is_not_sold_once_more():
    seen = desk({"a": IRA}, lot("a", "XOM", "E", 50), lot("a", "XOM", "F", 5))
    raised, swapped = raise_cash(seen, {"a": D(4000)}), swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})
    assert sold(raised) == {("a", "E"): D(40)} and sold(swapped) == {("a", "E"): D(10), ("a", "F"): D(5)}


def test_where_only_whole_shares_are_sold_enough_of_them_are_for_a_withdrawal_and_not_one_of_every_class():
    lots = [lot("k", "XOM", "E", 50), lot("k", "JPM", "B", 50), lot("k", "JNJ", "H", 50)]
    assert sold(raise_cash(desk({"k": WHOLE}, lots[0]), {"k": D(150)})) == {("k", "E"): D(2)}
    made = raise_cash(desk({"k": WHOLE}, *lots), {"k": D(150)})
    assert sum(one.sold_usd for one in made) == 200, "50 of each class are three shares, two are enough"


def test_parts_of_a_share_are_sold_together_where_they_make_whole_ones():
    lots = [lot("k", "XOM", f"E{n}", "0.4", 10 * n, "short") for n in range(1, 6)]
    made = swap(desk({"k": WHOLE._replace(is_deferred=False)}, *lots), {"Energy": D(150)}, {"Banks": D(150)})
    assert list(sold(made).items()) == [(("k", "E1"), D("0.4")), (("k", "E2"), D("0.4")), (("k", "E3"), D("0.2"))]
    assert made[0].tax_usd == D("0.29") * (10 + 20 + 15)
    assert swap(desk({"k": WHOLE}, *lots[:2]), {"Energy": D(150)}, {"Banks": D(150)}) == [], "less than a share"


# Limits and worth -------------------------------------------------------------------------------------


def test_a_sale_that_costs_more_than_less_drift_is_worth_is_left_alone_and_the_free_one_is_made():
    quadratic = lambda far: sum((usd * usd for usd in far.values()), D(0)) / 500_000
    far = {"Energy": 8000, "Banks": -8000}
    lots = [lot("joint", "XOM", "J", 100, 5000), lot("ira", "XOM", "I", 40, 5000)]
    seen = desk({"ira": IRA, "joint": PICKED}, *lots, distance=far, drift_cost=quadratic)
    made = swap(seen, {"Energy": D(8000)}, {"Banks": D(8000)})
    assert sold(made) == {("ira", "I"): D(40)}
    assert made[0].worth_usd == 2 * (8000**2 - 4000**2) // 500_000 and made[0].cost_usd == 4
    [left] = seen.left_alone
    assert left.reason == "its sale would cost $404.00 (tax $400.00), less drift is worth $64.00"
    free = desk({"ira": IRA, "joint": PICKED}, *lots, distance=far)
    assert sold(swap(free, {"Energy": D(8000)}, {"Banks": D(8000)}))["joint", "J"] == 40, "without the test it is made"


def test_an_order_stays_within_the_limits_of_the_gates_and_the_rest_waits():
    small = IRA._replace(max_order_usd=D(1000))
    seen = desk({"ira": small}, lot("ira", "XOM", "I", 50))
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("ira", "I"): D(10)}
    assert "max_order_weight" in seen.left_alone[0].reason
    seen = desk({"joint": PICKED}, lot("joint", "XOM", "J", 50, 2500), gains_left_usd=[D(0), D(500)])
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("joint", "J"): D(10)}
    seen = desk({"ira": IRA}, lot("ira", "XOM", "I", 50), turnover_left_usd=D(2000))
    assert sold(swap(seen, {"Energy": D(3000)}, {"Banks": D(3000)})) == {("ira", "I"): D(10)}


def test_a_share_that_is_rounded_up_for_a_withdrawal_does_not_pass_the_limit_of_an_order():
    seen = desk({"a": IRA._replace(unit=D(1), max_order_usd=D(1045))}, lot("a", "XOM", "E", 100))
    assert sold(raise_cash(seen, {"a": D(1020)})) == {("a", "E"): D(10)}


def test_a_withdrawal_may_use_the_whole_turnover_of_a_day_for_it_buys_nothing():
    seen = desk({"a": IRA}, lot("a", "XOM", "E", 100), turnover_left_usd=D(2000))
    assert sold(raise_cash(seen, {"a": D(2500)})) == {("a", "E"): D(20)}
    assert "max_daily_turnover" in seen.left_alone[0].reason


def test_only_the_sale_of_a_class_that_nobody_can_measure_goes_unweighed():
    lots = [lot("joint", "XOM", "E", 100, 5000), lot("joint", "JNJ", "H", 100, 5000)]
    far = {"Energy": 8000, "Health": 8000, "Banks": -16_000}
    seen = desk({"joint": PICKED}, *lots, distance=far, drift_cost=lambda far: D(0), unmeasured={"Health"})
    [made] = swap(seen, {"Energy": D(3000), "Health": D(3000)}, {"Banks": D(6000)})
    assert (made.asset_class, made.worth_usd) == ("Health", None)
    assert "less drift is worth $0.00" in seen.left_alone[0].reason


def test_a_purchase_goes_on_to_the_next_security_of_its_class_where_the_first_is_full():
    seen = desk({"ira": IRA}, distance={"Energy": -5000}, position_left_usd={"XOM": D(1000)})
    assert bought(invest(seen, {"ira": D(3000)})) == {("ira", "XOM"): D(10), ("ira", "CVX"): D(20)}


# Cash -------------------------------------------------------------------------------------------------


def test_cash_goes_to_what_is_furthest_below_in_the_account_where_it_lies():
    seen = desk({"a": IRA, "b": IRA}, distance={"Energy": -3000, "Banks": -2000, "Health": 5000},
                choices={("a", "Energy"): ["XOM"], ("a", "Banks"): ["JPM"], ("b", "Banks"): ["JPM"]})  # fmt: skip
    made = invest(seen, {"a": D(2000), "b": D(5000)})
    assert bought(made) == {("a", "XOM"): D(15), ("a", "JPM"): D(5), ("b", "JPM"): D(15)}
    assert seen.distance_usd == {"Energy": D(-1500), "Banks": D(0), "Health": D(5000), CASH: D(-3500)}, (
        "half of it stays"
    )


def test_a_withdrawal_is_raised_from_what_is_furthest_above_in_its_own_account():
    lots = [lot("a", "XOM", "E", 100), lot("a", "JPM", "B", 100), lot("b", "XOM", "F", 100)]
    made = raise_cash(desk({"a": IRA, "b": IRA}, *lots, distance={"Energy": 3000, "Banks": 1000}), {"a": D(4000)})
    assert sold(made) == {("a", "E"): D(30), ("a", "B"): D(10)}


def test_a_withdrawal_is_raised_whatever_it_is_worth_and_however_small_it_is():
    seen = desk({"a": PICKED}, lot("a", "XOM", "E", 100, 9000), least=250, drift_cost=lambda far: D(0), cushion="0.02")
    [made] = raise_cash(seen, {"a": D(98)})
    assert made.sold_usd == 100 and made.tax_usd == 18


# What always holds ------------------------------------------------------------------------------------

securities = st.sampled_from(sorted(OF))
held_lots = st.builds(
    lot, st.sampled_from(["ira", "fifo", "picked", "whole"]), securities, st.integers(0, 10**6).map(str),
    st.integers(1, 10**6).map(lambda n: D(n).scaleb(-3)), st.integers(-3000, 3000), st.sampled_from(["short", "long"]),
)  # fmt: skip
dollars = st.integers(0, 10**7).map(lambda n: D(n).scaleb(-2))
ALL = {"ira": IRA, "fifo": FIFO, "picked": PICKED, "whole": WHOLE}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(held_lots, max_size=12, unique_by=lambda one: one.lot_id), dollars, st.tuples(dollars, dollars),
    st.sets(st.tuples(st.sampled_from(sorted(ALL)), st.sampled_from(["JPM", "JNJ"]))), st.sampled_from(["0", "0.02"]),
    st.sampled_from([0, 250]),
)  # fmt: skip
def test_no_account_spends_what_it_did_not_sell_nor_sells_what_it_has_not(lots, energy, short, barred, cushion, least):
    choices = {(a, c): [s] for a in ALL for c, s in (("Banks", "JPM"), ("Health", "JNJ")) if (a, s) not in barred}
    seen = desk(ALL, *lots, choices=choices, cushion=cushion, least=least)
    made = swap(seen, {"Energy": energy}, {"Banks": short[0], "Health": short[1]})
    for one in made:
        assert one.bought_usd <= one.sold_usd * (1 - D(cushion)) + D("0.05")
        assert all(OF[sale.security_id] == "Energy" for sale in one.sales) and one.asset_class == "Energy"
        assert all((one.account_id, it.security_id) not in barred for it in one.purchases)
        assert all(it.quantity * it.price_usd >= D(least) * D("0.97") for it in one.purchases)
    assert sum(one.sold_usd for one in made) <= energy + D("0.05")
    have = {(one.account_id, one.lot_id): one.quantity for one in lots}
    assert all(0 < shares <= have[key] for key, shares in sold(made).items())
    for name, usd in (("JPM", short[0]), ("JNJ", short[1])):
        assert sum(shares for (_, it), shares in bought(made).items() if it == name) * 100 <= usd + D("0.05")
    whole = [it.quantity for one in made if one.account_id == "whole" for it in (*one.sales, *one.purchases)]
    assert all(shares == int(shares) for shares in whole)


@settings(max_examples=80, deadline=None)
@given(st.lists(held_lots, max_size=8, unique_by=lambda one: one.lot_id), dollars)
def test_the_same_desk_makes_the_same_trades_in_whatever_order_accounts_are_listed(lots, energy):
    made = [
        swap(desk(dict(order), *lots), {"Energy": energy}, {"Banks": energy})
        for order in (ALL.items(), reversed(ALL.items()))
    ]
    assert made[0] == made[1]
