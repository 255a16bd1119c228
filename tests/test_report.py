"""The year's files and the page, from a small warehouse."""

import csv
import re
from datetime import date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from reported import agreed

from flows.report import report
from flows.settings import Portfolio, Settings
from transforms.law import tax_year
from transforms.tables import PRICE, QUANTITY, USD, core
from transforms.tax.schedule_d import schedule_d
from warehouse.db import Warehouse, writer
from warehouse.law import law_rows

AS_OF, NOW = date(2022, 10, 14), datetime(2022, 10, 14, 21, 30)
EVIL = '<script>alert("1")</script> & <b>co</b>'
D = Decimal


def household(home: Path, *, name: str = "The Millers", linked: bool = True) -> Settings:
    account = {
        "id": "joint",
        "name": "Joint",
        "type": "taxable",
        "owner": "joint",
        "broker": "simulated",
        "activities": "x",
    }
    portfolio = Portfolio.model_validate({
        "household": {"name": name, "filing_status": "mfj", "taxable_income_usd": 210000, "linked": linked},
        "prices": {"source": "skfolio"},
        "accounts": [account],
    })  # fmt: skip
    return Settings(home=home, portfolio_file=home / "portfolio.toml", portfolio=portfolio)


def sale(trade: str, security: str, acquired: date, sold: date, usd: str, basis: str, washed: str = "0", **rest):
    gain = D(usd) - D(basis) + D(washed)
    term = "long" if (sold - acquired).days > 366 else "short"
    return (trade, f"L-{trade}", 1, "joint", security, D(40), acquired, acquired, sold, D(usd), D(basis),
            "W" if D(washed) else "", D(washed), rest.get("permanent", D(0)), gain, term, rest.get("provisional", False))  # fmt: skip


def purchase(transaction: str, account: str, on: date) -> dict[str, object]:
    return {
        "transaction_id": transaction, "version": 1, "account_id": account, "kind": "trade", "side": "buy",
        "security_id": "HD", "quantity": D(10), "price_usd": D(280), "fee_usd": D(0), "amount_usd": D(-2800),
        "traded_on": on, "traded_at": None, "lots": "", "delivery_id": "d", "known_at": NOW, "payload_hash": "h", "details": "{}",
    }  # fmt: skip


SALES = [
    sale("S-1", "HD", date(2022, 1, 10), date(2022, 6, 1), "10000.00", "12000.00", "500.00", permanent=D(200)),
    sale("S-2", "XOM", date(2020, 4, 15), date(2022, 6, 8), "3032.63", "1017.00"),
    sale("S-3", "PEP", date(2022, 8, 16), date(2022, 9, 30), "11202.54", "12291.30", provisional=True),
    sale("S-4", "KO", date(2010, 12, 31), date(2022, 3, 1), "6200.00", "3280.50"),
    sale("S-5", "GE", date(2020, 3, 2), date(2021, 5, 3), "100.00", "300.00"),
]


def fill(warehouse: Warehouse) -> None:
    disposals = core("disposals", SALES)
    exact = {"quantity": QUANTITY, "price_usd": PRICE, "fee_usd": USD, "amount_usd": USD, "traded_at": pl.Time}
    bought = [purchase("B-1", "joint", date(2022, 6, 20)), purchase("B-2", "roth", date(2022, 6, 21))]
    warehouse.append("ledger.transactions", pl.DataFrame(bought, schema_overrides=exact))
    run = {"run_id": "r", "stage": "booked", "as_of": AS_OF, "known_at": NOW, "reached_at": NOW, "law_hash": "l",
           "policy_hash": "p", "version": "0"}  # fmt: skip
    warehouse.append("ledger.runs", pl.DataFrame([run]))
    warehouse.append("core.set_aside", pl.DataFrame([{
        "delivery_id": "d", "raw_line": 7, "kind": "activities", "source": "joint", "line": 7, "payload": f'{{"note":"{EVIL[:8]}"}}',
        "reason": "quantity of a trade is not above zero",
    }]))  # fmt: skip
    law = law_rows()
    accounts = [
        {"account_id": name, "name": name, "type": kind, "owner": "joint", "broker": "simulated", "relief": "fifo_only",
         "method": "fifo", "mode": "auto", "is_deferred": kind != "taxable", "booked_to": AS_OF}
        for name, kind in (("joint", "taxable"), ("roth", "roth_ira"))
    ]  # fmt: skip
    filled = {
        "accounts": pl.DataFrame(accounts),
        "latest_prices": core("latest_prices", [("HD", AS_OF, Decimal("281.55"), Decimal("280"), 0, True)]),
        "disposals": disposals,
        "reported_sales": agreed(disposals),
        "schedule_d": schedule_d(agreed(disposals), lambda year: tax_year(law, year, "mfj"), D(210_000)),
        "lots": [("B-1", 1, "joint", "HD", D(10), date(2022, 6, 20), date(2022, 1, 29), date(2023, 1, 30), D(3100), False)],
        "wash_sales": [
            ("S-1", "L-S-1", "B-1", D(6), D(300), D(0), 19, "26 USC 1091(a), (d)", "purchase", D(6)),
            ("S-1", "L-S-1", "B-2", D(4), D(200), D(200), 20, "Rev. Rul. 2008-5", "deferred", D(4)),
        ],
        "expenses": [
            ("bank", "1", date(2022, 3, 1), "PATREON", D("1812.30"), "gross_receipts", "1", D("1812.30")),
            ("bank", "2", date(2022, 3, 2), "CLOUDHOST", D(-48), "hosting", "27a", D(48)),
            ("bank", "3", date(2022, 3, 3), "META ADS", D(-150), "advertising", "8", D(150)),
            ("bank", "4", date(2022, 3, 4), EVIL, D(-380), "review", "", D(0)),
            ("bank", "5", date(2022, 3, 5), "CAMERA BODY", D(-3498), "equipment", "13", D(0)),
            ("bank", "6", date(2021, 3, 5), "=HYPERLINK(1)", D(-1), "review", "", D(0)),
        ],
        "drift": [
            ("Energy", D(15_710), 0.1571, 0.10, 0.0571, 0.05, True, D(0), ""),
            (EVIL, D(84_290), 0.8429, 0.90, -0.0571, 0.06, False, D(0), ""),
        ],
        "risk": [("drawdown", 0.228, "fraction", True, "limit 20%"), ("sharpe_ratio", -0.31, "ratio", False, "a year")],
        "proposals": [
            ("joint", "AMD", D("120.5"), "", D(56), D(11_200), D(6_748), D(1_452), D(3_000), D("1251.11"), "MSFT", D(29),
             D("228.56"), 0.68, 0.74, 0.21, D(0), D(0), "", None, D(0), False, "a loss of 39.8% of basis"),
            ("joint", "JPM", D(30), "", D(111), D(4_500), D(3_330), D(0), D(1_170), D(276), "", D(0), D(0), 0.0, 0.0, 0.0,
             D(4500), D(4500), "", None, D(0), True, "the Roth IRA bought it on 2022-10-03"),
        ],
        "harvests": pl.DataFrame([{
            "client_order_id": "o", "account_id": "joint", "security_id": "GE", "replacement_id": "XOM",
            "sold_on": date(2022, 5, 3), "allowed_loss_usd": D(4400), "disallowed_usd": D(0),
            "tax_deferred_usd": D("1646.00"), "unused_loss_usd": D(0), "owed_back_usd": D("1322.75"),
        }]).with_columns(pl.selectors.decimal().cast(USD)),
        "source_status": [("roth", "activities", date(2022, 10, 3), 5, False, "11 days old: export it again", "")],
    }  # fmt: skip
    for table, rows in filled.items():
        warehouse.replace(f"core.{table}", core(table, rows))


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """The folder of 2022 and its page."""
    home = tmp_path_factory.mktemp("home")
    with writer(home / "warehouse.duckdb") as warehouse:
        fill(warehouse)
        index = report(warehouse, household(home, name="Miller & <Sons>"), 2022, AS_OF)
    return index.parent, index.read_text()


class Reader(HTMLParser):
    """What a browser would see: elements that are open, ids, links, text."""

    def __init__(self, page: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if self.open[-1:] != ["style"] else ""

    def values(self, name: str) -> list[str]:
        return [value for attribute, value in self.attributes if attribute == name]


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / f"{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_forms_are_files(reported):
    folder, _ = reported
    assert sorted(path.name for path in folder.iterdir()) == [
        "broker_differs.csv", "expenses.csv", "form_8949.csv", "index.html",
        "lot_identifications.csv", "schedule_c.csv", "schedule_d.csv", "wash_sales.csv",
    ]  # fmt: skip
    assert [(row["part"], row["box"], row["gain"]) for row in rows(folder, "form_8949")] == [
        ("I", "A", "-1500.00"), ("I", "A", "-1088.76"), ("II", "D", "2015.63"), ("II", "E", "2919.50"),
    ]  # fmt: skip
    assert [row["replacement_lot_id"] for row in rows(folder, "wash_sales")] == ["B-1", "B-2"]
    assert [row["schedule_c_line"] for row in rows(folder, "schedule_c")] == ["1", "8", "13", "27a", ""]


def test_form_8949_adds_up_to_schedule_d(reported):
    folder, _ = reported
    lines = {row["line"]: D(row["amount_usd"]) for row in rows(folder, "schedule_d")}
    for boxes, (total, carried) in {"AB": ("7", "6"), "DE": ("15", "14")}.items():
        gains = sum(D(row["gain"]) for row in rows(folder, "form_8949") if row["box"] in boxes)
        assert lines[total] == gains + lines[carried]
    assert lines["16"] == lines["7"] + lines["15"] == D("2346.37")


def test_the_wash_sales_add_up_to_the_adjustments_of_form_8949(reported):
    folder, _ = reported
    washed = sum(D(row["disallowed_usd"]) for row in rows(folder, "wash_sales"))
    assert washed == sum(D(row["adjustment"]) for row in rows(folder, "form_8949")) == 500


def test_the_page_needs_nothing_but_itself(reported):
    _, page = reported
    seen = Reader(page)
    assert not seen.tags & {"script", "link", "iframe", "object", "embed", "img", "form", "foreignobject"}
    assert "http" not in page
    assert not re.search(r"url\((?!#)|@import|\bsrc=|\bon\w+=", page)
    assert all(link.startswith("#") for link in seen.values("href"))


def test_the_page_is_whole_and_its_links_lead_somewhere(reported):
    seen = Reader(reported[1])
    ids = seen.values("id")
    assert seen.open == []
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in seen.values("href")} <= set(ids)
    assert reported[1].count("<svg") == 3


@pytest.mark.parametrize(
    "said",
    [
        "Miller & <Sons>", "Oct 14, 2022",
        "Short-term gain 2022\u2212$2,588.76", "Long-term gain 2022$4,935.13",
        "Losses disallowed$500.00", "lost for good$200.00",
        "$1,646.00an estimate; owed back if the replacements are sold at market: $1,322.75",
        "Business net$1,614.30",
        "1 alert \u00b7 1 source is not sound \u00b7 1 row set aside \u00b7 1 bank line to review",
        "the Roth IRA bought it on 2022-10-03", "Rev. Rul. 2008-5",
        "PEPOct 30, 2022Sep 30, 2022",
        "Part II, box E", "Losses of $1,088.76 in 1 row of Form 8949 are provisional",
        "Prices are adjusted for splits and dividends", "not tax advice. Check every row against the 1099-B",
        "computed by another form first",
    ],
)  # fmt: skip
def test_the_page_says(reported, said):
    assert said in Reader(reported[1]).text


def test_text_from_outside_is_escaped(reported):
    folder, page = reported
    assert EVIL not in page
    assert Reader(page).text.count(EVIL) >= 3  # a bank line, an asset class in the table, and in the chart
    assert not re.search(r"<(b|co|sons)>", page, re.IGNORECASE)
    assert EVIL in [row["description"] for row in rows(folder, "expenses")]


def test_a_spreadsheet_runs_nothing_that_a_bank_wrote(tmp_path):
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        fill(warehouse)
        folder = report(warehouse, household(tmp_path), 2021, AS_OF).parent
    assert [row["description"] for row in rows(folder, "expenses")] == ["'=HYPERLINK(1)"]


def test_writing_it_again_gives_the_same_bytes(tmp_path):
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        fill(warehouse)
        written = [
            {
                path.name: path.read_bytes()
                for path in report(warehouse, household(tmp_path), 2022, AS_OF).parent.iterdir()
            }
            for _ in range(2)
        ]
    assert written[0] == written[1]


def test_an_empty_household_still_gets_its_page(tmp_path):
    with writer(tmp_path / "warehouse.duckdb") as warehouse:
        index = report(warehouse, household(tmp_path, linked=False), 2022, AS_OF)
    text = Reader(index.read_text()).text
    for said in ("Short-term gain 2022$0.00", "Nothing was sold in 2022.", "None today.", "Everything may be bought."):
        assert said in text
    assert "Not every account of the household is listed" in text
    assert (index.parent / "form_8949.csv").read_text().startswith("part,box,description")


def test_a_household_that_lists_every_account_is_not_warned(reported):
    assert "Not every account" not in reported[1]
