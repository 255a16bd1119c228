"""Asset location: tax-cost ratios and the foreign tax credit by the published cases, the program by its properties."""

from collections import defaultdict
from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.policy import AssetClass
from transforms.law import tax_year
from transforms.portfolio.foreign_tax import (
    break_even,
    elected_credit,
    foreign_tax_credit,
    foreign_taxable_income,
)
from transforms.portfolio.location import Block, Infeasible, Retirement, cost, place, relocate, yearly_cost
from transforms.portfolio.tax_cost import ASSUMED, Taxes, Yields, ordinary_tax_usd, preferential_part, tax_cost, taxes
from warehouse.law import law_rows

D = Decimal
HOUSEHOLD = Taxes(D("0.24"), D("0.15"), state_rate=D("0.05"), reit_deduction_rate=D("0.20"))
FEDERAL = Taxes(D("0.24"), D("0.15"))
LATER = Retirement(D("0.22"), D("0.24"), 20)


# Tax-cost ratios --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "ratio"),
    [
        ("Bonds", "0.01305"), ("TIPS", "0.01032"), ("Treasuries", "0.01008"), ("REITs", "0.00968"),
        ("International stocks", "0.004845"), ("US stocks", "0.0026585"), ("Municipal bonds", "0"),
    ],
)  # fmt: skip
def test_the_tax_cost_of_a_class_is_the_reference_tables(name, ratio):
    """24 % and 15 % federal, 5 % state, no net investment income tax; US stocks are printed as 0.266 %."""
    assert tax_cost(ASSUMED[name], HOUSEHOLD) == D(ratio)


def test_every_part_of_the_yield_bears_its_own_taxes():
    by = Taxes(D("0.32"), D("0.15"), D("0.038"), D("0.05"), D("0.20"))

    def rate(**said):
        return tax_cost(Yields(**said), by)

    one = D("0.01")
    assert rate(qualified_rate=one) == one * D("0.238")
    assert rate(ordinary_rate=one) == rate(interest_rate=one) == rate(short_gain_rate=one) == one * D("0.408")
    assert rate(reit_rate=one) == one * (D("0.32") * D("0.8") + D("0.088"))  # the deduction is federal
    assert rate(treasury_rate=one) == one * D("0.358")  # no state
    assert rate(muni_rate=one) == 0 and rate(muni_rate=one, is_muni_of_state=False) == one * D("0.05")
    assert rate(turnover=D("0.10"), embedded_gain_rate=D("0.20")) == D("0.02") * D("0.238")


def test_the_rates_are_the_households_own():
    law = tax_year(law_rows(), 2025, "single")
    assert taxes(law, D(150000), D("0.05"))[:5] == Taxes(D("0.24"), D("0.15"), D(0), D("0.05"), D("0.20"))[:5]
    assert taxes(law, D(700000), D(0))[:3] == (D("0.37"), D("0.20"), D("0.038"))


def test_settings_and_transforms_name_the_same_parts_of_a_yield():
    assert tuple(AssetClass.model_fields) == Yields._fields
    assert Yields(**AssetClass().model_dump()) == Yields()


# The foreign tax credit -------------------------------------------------------------------------------


def test_international_stock_is_not_the_better_taxable_holding_by_itself():
    found = break_even(ASSUMED["International stocks"], ASSUMED["US stocks"], FEDERAL)
    assert found.break_even_rate == D("0.11455")  # printed as 11.5 %
    assert not found.is_international and found.withholding_rate == D("0.07")
    assert tax_cost(ASSUMED["International stocks"]._replace(withholding_rate=D(0)), FEDERAL) == D("0.005445")
    assert (found.international_rate, found.domestic_rate.quantize(D("0.000001"), ROUND_HALF_UP), found.lost_rate) == (
        D("0.003345"), D("0.002009"), D("0.0021"),
    )  # fmt: skip
    assert found.domestic_rate == D("0.0020085")


@pytest.mark.parametrize(("withheld", "is_international"), [("0.1145", False), ("0.11455", True), ("0.12", True)])
def test_the_program_turns_at_the_break_even(withheld, is_international):
    abroad = ASSUMED["International stocks"]._replace(withholding_rate=D(withheld), growth_rate=D(0))
    home = ASSUMED["US stocks"]._replace(growth_rate=D(0))
    assert break_even(abroad, home, FEDERAL).is_international is is_international
    flat = Retirement(D("0.22"), D("0.22"), 0)
    costs = {
        (account, name): cost(yields, kind, FEDERAL, flat)
        for account, kind in (("joint", "taxable"), ("ira", "traditional"))
        for name, yields in (("abroad", abroad), ("home", home))
    }
    placed = place({"joint": 100, "ira": 100}, {"abroad": 100, "home": 100}, costs)
    if withheld != "0.11455":  # there both cost the same
        assert placed == {
            ("joint", "abroad" if is_international else "home"): 100,
            ("ira", "home" if is_international else "abroad"): 100,
        }


def test_the_credit_is_limited_to_the_mean_tax_on_the_same_dividends():
    """Of 3 % with 65 % qualified, untaxed: the others at a mean rate of 8 % are 0.084 % of tax against 0.21 % withheld."""
    low = Taxes(D("0.12"), D(0), credit_rate=D("0.08"), qualified_part=D(0))
    abroad = ASSUMED["International stocks"]
    assert tax_cost(abroad, low) == D("0.0105") * (D("0.12") - D("0.08"))
    with_state = low._replace(state_rate=D("0.05"))
    assert tax_cost(abroad, with_state) == tax_cost(abroad, low) + D("0.03") * D(
        "0.05"
    )  # no credit against the state's tax
    enough = break_even(abroad._replace(withholding_rate=D("0.99")), ASSUMED["US stocks"], with_state)
    assert enough.withholding_rate > enough.break_even_rate and not enough.is_international


def test_without_a_limit_the_credit_counts_against_the_tax_on_other_income():
    """26 USC 904(j): all of 0.21 % is credited, 0.126 % of it against the dividends' own tax."""
    low = Taxes(D("0.12"), D(0))
    assert tax_cost(ASSUMED["International stocks"], low) == D("0.0105") * D("0.12") - D("0.0021")
    assert tax_cost(ASSUMED["International stocks"], Taxes(D(0), D(0), credit_rate=D(0))) == 0, "no tax, no credit"


def test_the_limit_is_that_of_the_form():
    """Form 1116: foreign taxable income to all of it, times the tax; here by the rates, the same dividends, no qualified ones."""
    law, income = tax_year(law_rows(), 2026, "single"), D(50000)
    by, foreign = taxes(law, income, D(0)), D(2000)
    own = foreign_taxable_income(foreign, income + law.standard_deduction_usd, law.standard_deduction_usd)
    limit = foreign_tax_credit(D(10**6), own, income, ordinary_tax_usd(law, income)).credit_usd
    assert (foreign * by.credit_rate).quantize(D(1)) == limit.quantize(D(1)) and by.credit_rate < by.ordinary_rate
    assert by.qualified_part == D("0.15") / D("0.37")


def test_where_no_tax_is_paid_nothing_is_credited():
    assert taxes(tax_year(law_rows(), 2026, "single"), D(0), D(0)).credit_rate == 0
    assert taxes(tax_year(law_rows(), 2026, "single"), D(-90000), D(0)).credit_rate == 0


def test_the_credit_of_publication_514_for_2000():
    """Wages 21,000, a foreign dividend of 620 with 93 withheld, standard deduction 4,400, tax 2,164; in whole dollars."""
    dollar, year_2000_de_minimis = D(1), D(300)
    foreign = foreign_taxable_income(D(620), D(21620), D(4400), dollar)
    assert foreign == 494
    assert foreign_tax_credit(D(93), foreign, D(17220), D(2164), dollar) == (62, 31)
    assert elected_credit(D(93), D(2164), year_2000_de_minimis) == (93, 0)
    with pytest.raises(ValueError, match=r"\$301 of foreign tax is more than the \$300"):
        elected_credit(D(301), D(2164), year_2000_de_minimis)


def test_the_election_is_open_up_to_600_on_a_joint_return_alone():
    of = {
        status: tax_year(law_rows(), 2026, status).foreign_tax_de_minimis_usd
        for status in ("single", "mfj", "mfs", "hoh", "qss")
    }
    assert of == {"single": 300, "mfj": 600, "mfs": 300, "hoh": 300, "qss": 300}


def test_qualified_dividends_enter_the_limit_at_their_rate_to_the_highest():
    law = tax_year(law_rows(), 2026, "mfj")
    assert preferential_part(law, D(210000)) == D("0.15") / D("0.37")
    assert preferential_part(law, D(50000)) == 0


# What a class costs in an account ---------------------------------------------------------------------


def costs_of(kinds, names, by=HOUSEHOLD, later=LATER):
    return {(account, name): cost(ASSUMED[name], kind, by, later) for account, kind in kinds.items() for name in names}


def test_bonds_and_reits_go_to_deferred_accounts_stocks_to_taxable_ones_and_growth_to_the_roth():
    kinds = {"joint": "taxable", "ira": "traditional", "roth": "roth"}
    names = ["Bonds", "REITs", "US stocks"]
    placed = place(
        {"joint": 50, "ira": 30, "roth": 20}, {"Bonds": 20, "REITs": 10, "US stocks": 70}, costs_of(kinds, names)
    )
    assert placed == {("ira", "Bonds"): 20, ("ira", "REITs"): 10, ("joint", "US stocks"): 50, ("roth", "US stocks"): 20}


def test_what_is_expected_to_grow_most_goes_to_the_roth():
    fast = ASSUMED["US stocks"]._replace(growth_rate=D("0.07"))
    of = {"fast": fast, "slow": ASSUMED["US stocks"]}
    costs = {
        (a, n): cost(y, k, HOUSEHOLD, LATER)
        for a, k in (("ira", "traditional"), ("roth", "roth"))
        for n, y in of.items()
    }
    assert place({"ira": 10, "roth": 10}, {"fast": 10, "slow": 10}, costs) == {
        ("ira", "slow"): 10,
        ("roth", "fast"): 10,
    }


def test_a_roth_saves_nothing_over_a_traditional_account_whose_growth_is_taxed_as_it_was_counted():
    """$1 traditional is $0.78 after tax; grown by 7 % and taxed at 22 % it is $0.78 x 1.07."""
    assert cost(ASSUMED["US stocks"], "traditional", HOUSEHOLD, Retirement(D("0.22"), D("0.22"), 0)) == 0


# The program ------------------------------------------------------------------------------------------

ACCOUNTS, CLASSES = ["a", "b", "c", "d"], ["p", "q", "r", "s"]
amounts = st.integers(0, 10**9)
rates = st.integers(0, 300).map(lambda bps: D(bps) / 10_000)
cells = [(account, name) for account in ACCOUNTS for name in CLASSES]
matrices = st.lists(amounts, min_size=16, max_size=16).map(lambda cents: dict(zip(cells, cents, strict=True)))
all_costs = st.lists(rates, min_size=16, max_size=16).map(lambda of: dict(zip(cells, of, strict=True)))
NEAR = D("0.02")  # USD a year: what the trace of the names' order can cost


def margins(located):
    by_account, by_class = defaultdict(int), defaultdict(int)
    for (account, name), cents in located.items():
        by_account[account] += cents
        by_class[name] += cents
    return by_account, by_class


@given(matrices, all_costs)
@settings(max_examples=60, deadline=None)
def test_no_location_of_the_same_classes_in_the_same_accounts_costs_less(held, costs):
    """Not what is held, and not everything everywhere in proportion; and every account and class is met to the cent."""
    capacity, wanted = margins(held)
    placed = place(capacity, wanted, costs)
    for found, right in zip(margins(placed), (capacity, wanted), strict=True):
        assert {name: cents for name, cents in found.items() if cents} == {
            name: cents for name, cents in right.items() if cents
        }
    total = sum(held.values()) or 1
    pro_rata = sum((D(capacity[a]) * wanted[c] / total * costs[a, c] for a, c in cells), D(0)) / 100
    assert yearly_cost(placed, costs) <= min(yearly_cost(held, costs), pro_rata) + NEAR


@given(matrices, all_costs, st.lists(rates, min_size=16, max_size=16), st.sets(st.sampled_from(cells)))
@settings(max_examples=60, deadline=None)
def test_moves_keep_every_total_pay_for_their_tax_and_buy_nothing_that_an_account_cannot_hold(
    held, costs, tax, not_bought
):
    blocks = [Block(*cell, cell[1].upper(), "", held[cell], due) for cell, due in zip(cells, tax, strict=True)]
    buyable, years = set(cells) - not_bought, D(3)
    moves = relocate(blocks, costs, buyable, years, D("0.0002"))
    after, due = dict(held), D(0)
    for move in moves:
        assert move.cents > 0 and {leg.sold_class for leg in move.legs} == {leg.bought_class for leg in move.legs}
        spent = sum((blocks[at].tax_rate * cents for leg in move.legs for at, cents in leg.sold), D(0)) / 100
        assert spent <= years * move.saving_usd
        for leg in move.legs:
            assert (leg.account_id, leg.bought_class) in buyable and sum(cents for _, cents in leg.sold) == move.cents
            after[leg.account_id, leg.sold_class] -= move.cents
            after[leg.account_id, leg.bought_class] += move.cents
        due += spent
    assert min(after.values()) >= 0 and margins(after) == margins(held)
    saved = yearly_cost(held, costs) - yearly_cost(after, costs)
    assert abs(saved - sum((move.saving_usd for move in moves), D(0))) < D("0.01") and saved * years >= due


@given(matrices, all_costs)
@settings(max_examples=30, deadline=None)
def test_moves_that_cost_nothing_reach_the_cheapest_location(held, costs):
    blocks = [Block(*cell, "X", "", cents) for cell, cents in held.items()]
    saved = sum((move.saving_usd for move in relocate(blocks, costs, cells, D(3), D(0))), D(0))
    best = yearly_cost(held, costs) - yearly_cost(place(*margins(held), costs), costs)
    assert abs(saved - best) <= 2 * NEAR


def test_the_order_in_which_accounts_and_classes_are_named_decides_nothing():
    costs = dict.fromkeys(cells, D("0.01"))
    held = {cell: 100 + at for at, cell in enumerate(cells)}
    capacity, wanted = margins(held)
    turned = place(dict(reversed(capacity.items())), dict(reversed(wanted.items())), dict(reversed(costs.items())))
    assert turned == place(capacity, wanted, costs)


def test_a_day_moves_no_more_of_a_security_and_into_a_class_than_an_order_may_be():
    names = ["Bonds", "REITs", "US stocks"]
    costs = costs_of({"joint": "taxable", "ira": "traditional"}, names)
    two_classes = [Block("joint", "Bonds", "BND", "", 60_00), Block("joint", "REITs", "VNQ", "", 60_00)]
    sold = relocate(
        [*two_classes, Block("ira", "US stocks", "VTI", "", 100_00)], costs, costs, D(3), D(0), {"ira": 70_00}
    )
    assert sum(move.cents for move in sold) == 70_00  # of VTI
    two_funds = [Block("ira", "US stocks", "VTI", "", 60_00), Block("ira", "US stocks", "VOO", "", 60_00)]
    bought = relocate(
        [*two_funds, Block("joint", "Bonds", "BND", "", 100_00)], costs, costs, D(3), D(0), {"ira": 70_00}
    )
    assert sum(move.cents for move in bought) == 70_00  # of bonds


@pytest.mark.parametrize(
    ("capacity", "wanted", "said"),
    [
        ({"ira": 100, "joint": 100}, {"Bonds": 150}, r"the accounts hold \$2.00 after tax, and the classes add up to \$1.50"),
        ({"ira": 100, "joint": 100}, {"Bonds": 150, "Stocks": 50}, r"\$0.50 of Bonds has no room: ira alone can hold it; room is left"),
        ({"joint": 100}, {"Bonds": 30, "Stocks": 70}, r"^\$0.30 of Bonds has no room: no account can hold it; room is left"),
    ],
)  # fmt: skip
def test_an_infeasible_location_says_which_constraint(capacity, wanted, said):
    can = {("ira", "Bonds"): D(0), ("ira", "Stocks"): D(0), ("joint", "Stocks"): D(0)}
    with pytest.raises(Infeasible, match=said):
        place(capacity, wanted, can)
