"""Activities, filtered and paged as Alpaca documents it.

They are listed by id, newest first unless `direction` is asc. An id begins with its moment: a trade's own, to the
millisecond, and the midnight of its date for everything else, so that a dividend posted in the afternoon stands before the
morning's trades. `page_token` is the last id of the page before; a page has at most 100 rows, unless `date` is given.
`after` and `until` compare with the same moment, and exclude it.
"""

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime

from tests.fake_alpaca.books import Account
from tests.fake_alpaca.journal import Event
from tests.fake_alpaca.market import NEW_YORK, midnight
from tests.fake_alpaca.orders import unprocessable

TYPES = frozenset(
    """
    FILL ACATC ACATS CFEE CIL CSD CSW DIV DIVCGL DIVCGS DIVFEE DIVFT DIVNRA DIVROC DIVTW DIVTXEX DIVWH EXTRD FEE FXTRD
    INT INTNRA INTPNL INTTW JNL JNLC JNLS MA MEM MISC NC OCT OPASN OPCA OPCSH OPEXC OPEXP OPTRD OPXRC PTC PTR REORG SC
    SPIN SPLIT SSO SSP SWP TRANS VOF WH
    """.split()  # noqa: SIM905 - it is read as one list
)
CASH, DIVIDENDS = {"CSD", "CSW"}, {name for name in TYPES if name.startswith("DIV")}
GROUPS = {"TRANS": CASH, "MISC": TYPES - CASH - DIVIDENDS - {"FILL", "TRANS", "MISC"}}
CATEGORIES = {"trade_activity": {"FILL"}, "non_trade_activity": TYPES - {"FILL"}}


def moment(text: str, name: str) -> datetime:
    """A date or a moment of a request; a date is its midnight in New York.

    Errors   Refused.
    """
    try:
        if len(text) == 10:
            return midnight(date.fromisoformat(text))
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise unprocessable(f"invalid {name}: {text}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _stamp(at: datetime) -> str:
    """The beginning of an id at a moment."""
    return at.astimezone(NEW_YORK).strftime("%Y%m%d%H%M%S%f")[:17]


def activities(account: Account, asked: dict[str, str], only: str = "") -> list[Event]:
    """The page of an account's activities that a request asks for.

    Errors   Refused.
    """
    wanted: set[str] = set()
    for name in filter(None, (only or asked.get("activity_types", "")).split(",")):
        if name not in TYPES:
            raise unprocessable(f"invalid activity type: {name}")
        wanted |= GROUPS.get(name, {name})
    if category := asked.get("category"):
        if category not in CATEGORIES:
            raise unprocessable(f"invalid category: {category}")
        wanted = (wanted or set(TYPES)) & CATEGORIES[category]
    direction = asked.get("direction", "desc")
    if direction not in ("asc", "desc"):
        raise unprocessable(f"invalid direction: {direction}")
    rows = account.activities
    first, last = 0, len(rows)
    size = _size(asked)
    if day := asked.get("date"):
        if "after" in asked or "until" in asked:
            raise unprocessable("date cannot be combined with after or until")
        start = _stamp(moment(day, "date"))[:8]
        first, last = _index(rows, start), _index(rows, start + "~")
    if "after" in asked:
        first = _index(rows, _stamp(moment(asked["after"], "after")) + "~")
    if "until" in asked:
        last = _index(rows, _stamp(moment(asked["until"], "until")))
    if token := asked.get("page_token"):
        if direction == "asc":
            first = max(first, bisect_right(rows, token, key=lambda row: row[0]))
        else:
            last = min(last, _index(rows, token))
    page: list[Event] = []
    for index in range(first, last) if direction == "asc" else range(last - 1, first - 1, -1):
        if size is not None and len(page) == size:
            break
        row = rows[index][1]
        if not wanted or row["activity_type"] in wanted:
            page.append(row)
    return page


def _size(asked: dict[str, str]) -> int | None:
    """Rows of a page; none: all of a day."""
    has_date = "date" in asked
    if "page_size" not in asked:
        return None if has_date else 100
    try:
        size = int(asked["page_size"])
    except ValueError:
        raise unprocessable(f"invalid page_size: {asked['page_size']}") from None
    if size < 1 or (size > 100 and not has_date):
        raise unprocessable("page_size must be between 1 and 100")
    return size


def _index(rows: list[tuple[str, Event]], key: str) -> int:
    return bisect_left(rows, key, key=lambda row: row[0])
