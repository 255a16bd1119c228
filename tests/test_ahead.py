"""The check that books the years before once says what the check says that books everything anew."""

from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from transforms.harvest.benefit import Rates
from transforms.lots.ahead import Ahead
from transforms.lots.check import Year, effects
from transforms.lots.rules import Rules
from transforms.lots.tiers import merged
from transforms.model import Action, Event, Move, Option, Trade

ON = date(2025, 6, 16)
YEAR = Year(Rates(Decimal("0.29"), Decimal("0.20"), Decimal("0.29"), Decimal(3000)), Decimal(-500), Decimal(2000))
IDENTICAL = {"AAA": "one", "BBB": "one"}
CAUTIOUS = merged(IDENTICAL, {"CCC": "index", "AAA": "index"})
ACCOUNTS = ("joint", "other", "ira")
SECURITIES = ("AAA", "BBB", "CCC", "DDD")
DAYS = st.sampled_from((-400, -60, -45, -31, -30, -29, -12, -5, -2, -1, -1, 0))
SHARES = st.sampled_from((1, 2, 3, 5, 10, 10, 33)).map(lambda shares: shares * 10**9 // 3)


def trade(name: str, draw: st.DrawFn, day: int, *, is_buy: bool, may_pick: tuple[str, ...] = ()) -> Trade:
    security = draw(st.sampled_from(SECURITIES))
    holder = "joint" if security in ("AAA", "CCC") else "other"  # of what was bought long ago
    account = draw(st.sampled_from(ACCOUNTS)) if is_buy or draw(st.integers(0, 2)) == 0 else holder
    quantity = draw(SHARES)
    picks = ()
    if may_pick and not is_buy and draw(st.booleans()):
        picks = ((draw(st.sampled_from(may_pick)), quantity),)
    return Trade(
        name, account, security, is_buy, quantity, draw(st.integers(1, 90)) * quantity // 10**7,
        ON + timedelta(days=day), draw(st.sampled_from((None, None, time(9, 30), time(15, 0)))), account == "ira", picks,
        draw(st.sampled_from(("fifo", "fifo", "hifo"))), draw(st.sampled_from((True, True, True, False))) or not is_buy,
    )  # fmt: skip


def unusual(name: str, draw: st.DrawFn) -> Event:
    """What makes a family go the plain way: a split, a move, an option, average cost, a gift with two bases."""
    security, on = draw(st.sampled_from(SECURITIES)), ON + timedelta(days=draw(DAYS))
    kind = draw(st.sampled_from(("split", "move", "symbol", "call", "average", "gift")))
    if kind == "split":
        return Action(name, "split", security, on, Fraction(2))
    if kind == "symbol":
        return Action(name, "symbol_change", security, on, new_security_id=f"{security}-new")
    if kind == "move":
        return Move(name, "joint", security, 10**9, on, None, False, "other", False)
    if kind == "call":
        call = Option(security, "call", Decimal(50), 100)
        return Trade(name, "other", f"{security} call", True, 10**9, 30_000, on, None, False, option=call)
    if kind == "average":
        return Trade(name, "joint", security, False, 10**9, 5_000, on, None, False, method="average")
    return Trade(name, "joint", security, True, 10**10, 90_000, on, None, False, replaces=False, loss_amount=40_000)


@st.composite
def households(draw: st.DrawFn) -> tuple[list[Event], list[Trade], list[Trade]]:
    """What was done, what is known to come, and a batch."""
    done: list[Event] = [
        Trade(f"old-{security}", account, security, True, 40 * 10**9, 400_000, ON - timedelta(days=400), None, False)
        for security, account in zip(SECURITIES, ("joint", "other", "joint", "other"), strict=True)
    ]
    for number in range(draw(st.integers(1, 14))):
        is_buy = draw(st.sampled_from((True, True, False)))
        picks = tuple(event.trade_id for event in done if isinstance(event, Trade) and event.is_buy)
        done.append(trade(f"T-{number}", draw, draw(DAYS), is_buy=is_buy, may_pick=picks))
    if draw(st.integers(0, 3)) == 0:
        done.append(unusual("U-1", draw))
    known = [
        trade(f"plan-{number}", draw, draw(st.sampled_from((-20, -3, 0, 1, 30, 31))), is_buy=True)
        for number in range(draw(st.integers(0, 3)))
    ]
    bought = tuple(event.trade_id for event in done if isinstance(event, Trade) and event.is_buy)
    batch = [
        trade(f"asked-{number}", draw, draw(st.sampled_from((0, 0, 0, 1))), is_buy=draw(st.booleans()), may_pick=bought)
        for number in range(draw(st.integers(1, 5)))
    ]
    return done, known, batch


RULES = st.sampled_from(
    (
        Rules(),
        Rules(same_time_taxable_first=False),
        Rules(presale_held_to_day_end=False),
        Rules(older_lot_replaces=False),
    )
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(households(), RULES, st.sampled_from((IDENTICAL, CAUTIOUS)))
def test_a_household_booked_once_answers_as_one_booked_anew(household, rules, identical):
    done, known, batch = household
    ahead = Ahead(done, known, rules, YEAR, identical, CAUTIOUS, ON)
    for asked in (batch, batch[:1], batch):  # a question leaves no trace
        assert ahead.effects(asked) == effects(done, asked, known, rules, YEAR, identical, CAUTIOUS)


def test_the_households_have_what_is_hard():
    """Matches with what was done and what is to come, doubtful ones, refusals, and purchases that wash earlier sales."""
    met: dict[str, int] = {}

    @settings(max_examples=300, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(households())
    def look(household):
        done, known, batch = household
        for found in Ahead(done, known, Rules(), YEAR, IDENTICAL, CAUTIOUS, ON).effects(batch).values():
            states = {party.state for match in found.matches for party in (match.sale, match.purchase)}
            for what in (*states, *("doubtful" for _ in found.doubtful), *("refused" for _ in found.unbooked[:1])):
                met[what] = met.get(what, 0) + 1
            met["earlier sale"] = met.get("earlier sale", 0) + any(
                match.sale.state == "made" for match in found.matches
            )

    look()
    assert (
        min(met.get(what, 0) for what in ("made", "proposed", "coming", "doubtful", "refused", "earlier sale")) >= 10
    ), met


def test_a_batch_before_the_day_is_booked_whole():
    held = Trade("held", "joint", "AAA", True, 10**9, 10_000, ON - timedelta(days=100), None, False)
    sale = Trade("sale", "joint", "AAA", False, 10**9, 5_000, ON - timedelta(days=50), None, False)
    assert Ahead([held], [], Rules(), YEAR, {}, {}, ON).effects([sale])["sale"].short_gain == -5_000
