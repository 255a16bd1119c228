"""Numbers and days as exports print them -> as our columns hold them; and the price that an amount was settled at.

What cannot be read is handed on marked, so that nothing after us can take it for something else.
"""

import re
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext

NOTHING = frozenset(("", "-", "--", "—", "n/a", "N/A", "NaN", "nan"))
_SIGNS = str.maketrans({"−": "-", "–": "-", "\u00a0": " "})
_MONEY = re.compile(r"^([-+]?)\s*(?:US\$|USD|[$€£])?\s*([-+]?)\s*(.*?)\s*(-?)$")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d*)?")
_PLAIN = re.compile(r"\d{1,30}(?:\.\d{0,30})?|\.\d{1,30}")
CENT, NANO = Decimal("0.01"), Decimal("0.000000001")


def plain(text: str, decimal: str = ".", thousands: str = ",") -> str:
    """A printed number as a plain decimal; empty for what means nothing.

    >>> plain("$1,234.50"), plain("(12.00)"), plain("- $3.1"), plain("1.234,5", ",", "."), plain("--")
    ('1234.50', '-12.00', '-3.1', '1234.5', '')
    >>> plain("1,23"), plain("inf")
    ("'1,23' is no number", "'inf' is no number")
    """
    said = text.strip().translate(_SIGNS)
    if said in NOTHING:
        return ""
    if len(said) > 60:
        return f"'{said[:40]}…' is no number"
    if in_parentheses := said.startswith("(") and said.endswith(")"):
        said = said[1:-1].strip()
    found = _MONEY.match(said)
    before, within, digits, after = found.groups() if found else ("", "", said, "")
    if (thousands, decimal) != (",", "."):
        digits = digits.replace("\x00", "?").replace(thousands, "\x00").replace(decimal, ".").replace("\x00", ",")
    if _GROUPED.fullmatch(digits):
        digits = digits.replace(",", "")
    signs = before + within + after
    if not _PLAIN.fullmatch(digits) or len(signs) > 1 or (in_parentheses and signs):
        return f"{text.strip()!r} is no number"
    return ("-" if in_parentheses or signs == "-" else "") + digits


def value(text: str) -> Decimal | None:
    """A number that `plain` made; none where there is none or where it could not be read."""
    return Decimal(text) if text and _PLAIN.fullmatch(text.lstrip("-")) else None


def signed(text: str, *, is_negative: bool) -> str:
    """The number with this sign, whatever sign it has.

    >>> signed("5.00", is_negative=True), signed("-5.00", is_negative=False), signed("", is_negative=True)
    ('-5.00', '5.00', '')
    """
    return text if value(text) is None else ("-" if is_negative else "") + text.lstrip("-")


def reversed_sign(text: str) -> str:
    return signed(text, is_negative=not text.startswith("-"))


def total(texts: list[str]) -> str:
    """The sum of numbers; one that cannot be read spoils it.

    >>> total(["1.10", "", "2"]), total(["", ""])
    ('3.10', '')
    """
    said = [text for text in texts if text]
    if wrong := [text for text in said if value(text) is None]:
        return wrong[0]
    return f"{sum(map(Decimal, said)):f}" if said else ""


def day(text: str, formats: tuple[str, ...]) -> str:
    """A printed day, or moment, in ISO 8601.

    >>> day("12/31/2025", ("%m/%d/%Y",)), day("2024-01-02, 10:00:00", ("%Y-%m-%d, %H:%M:%S",))
    ('2025-12-31', '2024-01-02T10:00:00')
    >>> day("31/12/2025", ("%m/%d/%Y",))
    "'31/12/2025' is no day"
    """
    said = text.strip()
    for form in formats if len(said) < 60 else ():
        try:
            moment = datetime.strptime(said, form)
        except ValueError:
            continue
        if moment.year >= 1900:
            return moment.isoformat() if "%H" in form or "%I" in form else moment.date().isoformat()
    return f"{said[:60]!r} is no day" if said else ""


def read_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        return None


def option_name(underlying: str, expires: date, right: str, strike: Decimal) -> str:
    """An option as the clearing corporation writes it, without spaces: the same at every broker.

    >>> option_name("HD", date(2025, 7, 18), "call", Decimal("320.5"))
    'HD250718C00320500'
    """
    return f"{underlying}{expires:%y%m%d}{right[0].upper()}{int(strike * 1000):08d}"


def settled_price(
    quantity: Decimal,
    price: str,
    fee: Decimal,
    amount: Decimal,
    *,
    is_buy: bool,
    accrued: Decimal = Decimal(0),
    per: int = 1,
) -> str | None:
    """The price a share that the amount was settled at; none where price and amount contradict each other.

    Units    amount without its sign, fee and accrued interest in USD; `per` shares a unit.

    A statement rounds the price that it prints, and leaves small fees of the exchange out of its columns. The amount is what
    moved, and the books take quantity x price: where that misses the amount by no more than the rounding and a thousandth,
    the price is what the amount says.

    >>> settled_price(Decimal("9.598"), "74.29", Decimal(0), Decimal("713.08"), is_buy=True)
    '74.294644718'
    >>> settled_price(Decimal(10), "74.29", Decimal(1), Decimal("743.90"), is_buy=True)
    '74.29'
    >>> settled_price(Decimal(10), "74.29", Decimal(0), Decimal("74.29"), is_buy=True)
    """
    if quantity > 10**12 or amount > 10**12:  # no account holds so much
        return None
    with localcontext() as exact:
        exact.prec = 60
        paid = amount - fee - accrued if is_buy else amount + fee - accrued
        count = quantity * per
        if not count or paid < 0:
            return None
        if printed := value(price):
            miss = abs(count * printed - paid)
            if miss <= CENT / 2:
                return price
            decimals = max(2, len(price.partition(".")[2]))
            if miss > count * Decimal(5).scaleb(-decimals - 1) + paid / 1000 + 5 * CENT:
                return None
        return f"{(paid / count).quantize(NANO, ROUND_HALF_UP):f}"
