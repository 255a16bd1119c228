"""The Flex web service: a statement is ordered (SendRequest), then fetched when it is made (GetStatement).

The token stands in the query of the URL, because the service takes it nowhere else. So no URL is ever in an error,
redirects are not followed, the address that the first answer names is not used, and the library is the standard one: httpx
writes every URL into the log. The token may not make more than one request a second and ten a minute.
"""

import os
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from pydantic import SecretStr

from flows.connectors import Unavailable
from flows.connectors.formats import Statement, flex
from flows.connectors.formats.flex_xml import MOST_BYTES
from flows.secrets import SecretMissing, secret

SERVICE = "https://ndcdyn.interactivebrokers.com/AccountManagement/FlexWebService"
AGENT = "Java"  # the service answers only agents that it knows
TIMEOUT = 30.0  # seconds that one answer may stay silent
WAITS = (
    2.0,
    5.0,
    10.0,
    20.0,
    20.0,
    20.0,
    20.0,
)  # seconds before asking again: the service makes a year in about a minute
FRESH_SECONDS = 900.0  # a statement changes once a day, and the service counts
TOO_MANY = 15.0  # at least so long, when it counts too many requests
PASSING = {
    "1001", "1003", "1004", "1005", "1006", "1007", "1008", "1009", "1018", "1019", "1021",
}  # fmt: skip
TO_DO = {
    "1010": "this query is of a kind that ended: make an Activity Flex Query",
    "1011": "activate the Flex Web Service in the Client Portal",
    "1012": "the token has expired: make a new one in the Client Portal, and set IBKR_FLEX_TOKEN or the block ibkr-flex-token",
    "1013": "the token is tied to another internet address: make one without, or with this one's",
    "1014": "flex_query names no query of this login: it is the number beside the query in the Client Portal",
    "1015": "the token is wrong: copy it again into IBKR_FLEX_TOKEN or the block ibkr-flex-token",
    "1016": "the account is not one of this login",
    "1020": "the service cannot check the request: look at flex_query and the token",
}

Sleep = Callable[[float], None]
_statements: dict[tuple[str, str], tuple[float, Statement]] = {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


def newest(query: str) -> Statement:
    """The statement of a query; a quarter of an hour long the same one.

    Errors   Unavailable.
    """
    try:
        token = secret("IBKR_FLEX_TOKEN")
    except SecretMissing as wrong:
        raise Unavailable(str(wrong)) from None
    key = (service_url(), query)
    asked_at, statement = _statements.get(key, (-FRESH_SECONDS, None))
    if statement is None or time.monotonic() - asked_at >= FRESH_SECONDS:
        with tempfile.TemporaryDirectory() as folder:  # readable by us alone
            download(query, token, file := Path(folder) / "flex.xml")
            statement = flex.read(file)
        _statements[key] = (time.monotonic(), statement)
    return statement


def service_url() -> str:
    """Where the service is: IBKR_FLEX_URL, else IBKR's own. The token goes in the clear to no other machine.

    Errors   Unavailable.
    """
    url = os.environ.get("IBKR_FLEX_URL") or SERVICE
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname == "127.0.0.1"):
        return url.rstrip("/")
    raise Unavailable(
        f"IBKR_FLEX_URL points to {parts.scheme}://{parts.hostname}: it has to be https, or http on 127.0.0.1"
    )


def download(query: str, token: SecretStr, to: Path, sleep: Sleep = time.sleep) -> None:
    """Order a statement and put it into a file, asking again while the service is at it.

    Errors   Unavailable; `may_pass` where the service says that trying again can help.
    """
    url = service_url()
    ordered = _asked(url, "SendRequest", query, token, sleep)
    reference = _word(ordered, "ReferenceCode")
    if not reference:
        raise Unavailable("the Flex service took the request, and named no statement to fetch", may_pass=True)
    sleep(1.0)
    to.write_bytes(_asked(url, "GetStatement", reference, token, sleep))


def _asked(url: str, what: str, q: str, token: SecretStr, sleep: Sleep) -> bytes:
    for pause in (*WAITS, None):
        body = _get(f"{url}/{what}?{urlencode({'t': token.get_secret_value(), 'q': q, 'v': '3'})}")
        if not (code := _word(body, "ErrorCode")) and (what == "GetStatement" or _word(body, "Status") == "Success"):
            return body
        if code not in PASSING or pause is None:
            break
        sleep(max(pause, TOO_MANY) if code == "1018" else pause)
    words = (
        _word(body, "ErrorMessage").replace(token.get_secret_value(), "***")
        or "an answer of another shape than documented"
    )
    todo = TO_DO.get(code, "it may pass by itself" if code in PASSING else "look at docs/ibkr.md")
    raise Unavailable(f"the Flex service says {code or 'nothing'} ({words}): {todo}", may_pass=code in PASSING)


def _get(url: str) -> bytes:
    host = urlsplit(url).hostname
    direct = [urllib.request.ProxyHandler({})] if host == "127.0.0.1" else []
    opener = urllib.request.build_opener(_NoRedirect, *direct)
    request = urllib.request.Request(url, headers={"User-Agent": AGENT})
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            body: bytes = answer.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as wrong:
        raise Unavailable(f"the Flex service ({host}) answers {wrong.code}", may_pass=wrong.code >= 429) from None
    except (OSError, HTTPException) as wrong:
        raise Unavailable(
            f"the Flex service ({host}) does not answer ({type(wrong).__name__})", may_pass=True
        ) from None
    if len(body) > MOST_BYTES:
        raise Unavailable(
            f"the Flex statement has more than {MOST_BYTES:,} bytes: ask for a shorter period in the query"
        )
    return body


def _word(body: bytes, tag: str) -> str:
    """The text of an element of one of the service's short answers; of a statement, which has none of these, nothing."""
    found = re.search(rf"<{tag}>([^<]*)</{tag}>".encode(), body[:10_000])
    return found[1].decode(errors="replace").strip() if found else ""
