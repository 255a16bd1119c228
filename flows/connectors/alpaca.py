"""How Alpaca is asked: alpaca-py's clients on a session of our own.

The problem: alpaca-py gives a request no timeout, posts an order again after a 504, waits its own three seconds whatever
a 429 says, and reads numbers as floats. The choice: leave its clients as they are and put a session under them that
answers all four, because every request of every client goes through it. Numbers stay the text that Alpaca sent; a
read is asked again with growing waits; an order whose answer was lost is never posted again here, because only
the broker can say what became of it (brokers/alpaca.py asks). What went wrong is said without a key in it.
"""

import json
import os
import time
from collections.abc import Callable, Iterable
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit
from zlib import crc32

from alpaca.common.enums import BaseURL
from alpaca.common.rest import RESTClient
from requests import RequestException, Response, Session

from flows.connectors import Unavailable
from flows.secrets import SecretMissing, secret

PAPER, LIVE, DATA = BaseURL.TRADING_PAPER.value, BaseURL.TRADING_LIVE.value, BaseURL.DATA.value
TIMEOUT = (5.0, 30.0)  # seconds to connect, and to hear something
WAITS = (1.0, 2.0, 4.0)  # seconds before a request is made again
LONGEST = 70.0  # Alpaca counts requests by the minute; who asks to wait longer is down for us
LOOPBACK = ("127.0.0.1", "::1", "localhost")

Sleep = Callable[[float], None]
Client = TypeVar("Client", bound=RESTClient)
Body = dict[str, Any]


class Refused(Unavailable):
    """Alpaca answered, and the answer is no; `words` are its own."""

    def __init__(self, status: int, code: str, words: str):
        super().__init__(f"Alpaca says {status}: {words}")
        self.status, self.code, self.words = status, code, words


def client(make: Callable[..., Client], url: str, keys: str, sleep: Sleep = time.sleep) -> Client:
    """A client of alpaca-py with the keys of that name, whose numbers are text.

    Errors   Unavailable where a key is missing.
    """
    try:
        key, hidden = (secret(f"{keys}_{part}").get_secret_value() for part in ("API_KEY", "SECRET_KEY"))
    except SecretMissing as wrong:
        raise Unavailable(str(wrong)) from None
    made = make(key, hidden, raw_data=True, url_override=url)
    made._session = _Session(keys, (key, hidden), sleep)
    made._session.trust_env = urlsplit(url).hostname not in LOOPBACK  # no proxy between us and this machine
    return made


def base_url(variable: str, default: str) -> str:
    """Where Alpaca is: the environment's answer, else the usual one. Keys never go in the clear to another machine.

    Errors   Unavailable.
    """
    url = os.environ.get(variable) or default
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return url.rstrip("/")
    raise Unavailable(
        f"{variable} points to {parts.scheme}://{parts.hostname}: it has to be https, or http on this machine (127.0.0.1)"
    )


def needed(body: Body, field: str, what: str) -> str:
    """A field that our reading needs, as text.

    Errors   Unavailable names it.
    """
    if body.get(field) is None:
        raise Unavailable(f"{what} has no field {field}: Alpaca's answer has another shape than documented")
    return as_text(body[field])


def as_text(value: object) -> str:
    """What Alpaca sent, as text: numbers as they stood there, lists and objects as JSON.

    >>> as_text("1.50"), as_text(True), as_text(None), as_text({"a": ["1"]})
    ('1.50', 'true', '', '{"a": ["1"]}')
    """
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def exactly(text: str) -> Any:
    """JSON whose numbers stay text.

    >>> exactly('{"qty": 0.10, "n": 3, "ok": true}')
    {'qty': '0.10', 'n': '3', 'ok': True}
    """
    return json.loads(text, parse_float=str, parse_int=str, parse_constant=str)


class _Session(Session):
    """Every request of a client of alpaca-py goes through here."""

    def __init__(self, keys: str, hidden: Iterable[str], sleep: Sleep):
        super().__init__()
        self._keys, self._hidden, self._sleep = keys, tuple(hidden), sleep

    def request(self, method: str, url: str, **options: Any) -> Response:  # type: ignore[override]
        """Ask, and ask again where that is safe and can help.

        Errors   Refused, Unavailable.
        """
        for attempt in range(len(WAITS) + 1):
            pause = _pause(url, attempt)
            try:
                response = super().request(method, url, timeout=TIMEOUT, **options)
            except RequestException as lost:
                fault, is_again = f"does not answer ({type(lost).__name__})", method.upper() != "POST"
            else:
                if response.ok and (body := _body(response)) is not None:
                    response.json = lambda body=body, **_: body  # type: ignore[method-assign]
                    return response
                if response.status_code < 500 and response.status_code != 429 and not response.ok:
                    raise self._refusal(response)
                fault = f"answers {response.status_code}" + (", but not in JSON" if response.ok else "")
                is_again = response.status_code == 429 or method.upper() != "POST"
                pause = max(pause, _asked_to_wait(response))
            if not is_again or pause > LONGEST or attempt == len(WAITS):
                break
            self._sleep(pause)
        raise Unavailable(f"Alpaca ({urlsplit(url).hostname}) {fault}", may_pass=True) from None

    def _refusal(self, response: Response) -> Unavailable:
        """Bad keys stop the source; every other refusal is for the one who asked. Words never repeat a key."""
        try:
            said = exactly(response.text)
        except ValueError:
            said = None
        said = said if isinstance(said, dict) else {"message": response.text[:200] or response.reason}
        words, code = as_text(said.get("message")), as_text(said.get("code"))
        for value in self._hidden:
            words = words.replace(value, "***")
        if response.status_code == 401 or (response.status_code == 403 and (not code or words.startswith("forbidden"))):
            return Unavailable(
                f"Alpaca refuses the keys {self._keys}_API_KEY and {self._keys}_SECRET_KEY ({response.status_code}: {words}); "
                "paper keys open paper accounts only"
            )
        return Refused(response.status_code, code, words)


def _body(response: Response) -> Any:
    """What was answered, {} for nothing; None where it is not JSON (a proxy's page)."""
    try:
        return exactly(response.text) if response.text else {}
    except ValueError:
        return None


def _pause(url: str, attempt: int) -> float:
    """A growing wait, spread by up to a quarter so that several accounts do not come back together; always the same one.

    >>> 2 <= _pause("https://x/v2/account", 1) <= 2.5
    True
    """
    return WAITS[min(attempt, len(WAITS) - 1)] * (1 + crc32(f"{url} {attempt}".encode()) % 256 / 1024)


def _asked_to_wait(response: Response) -> float:
    """Seconds that Alpaca asks us to wait: Retry-After in seconds or as a date by its own clock, or its rate limit's end."""
    try:
        now = parsedate_to_datetime(response.headers["Date"])
    except (KeyError, ValueError):
        now = None
    after, reset = response.headers.get("Retry-After", ""), response.headers.get("X-RateLimit-Reset", "")
    if after.isdigit():
        return float(after)
    if now is None:
        return 0.0
    try:
        return max(0.0, (parsedate_to_datetime(after) - now).total_seconds())
    except (TypeError, ValueError):  # no date, or one without a zone
        is_limit = response.status_code == 429 and reset.isdigit()
        return max(0.0, int(reset) - now.timestamp()) if is_limit else 0.0
