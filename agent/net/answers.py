"""What an HTTP answer without a CMP message means, in plain words: pure functions, no I/O (RFC 9811 section 3).

An answer with a CMP message never comes here: it is handed up whatever its status says about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from agent.errors import NotCmp, ServerBusy, TooLarge, TransportError
from agent.frozen import frozen
from agent.net.text import printable

CONTENT_TYPE: Final = "application/pkixcmp"

_OK: Final = 200
_REDIRECT: Final = range(300, 400)
_ERROR: Final = range(400, 600)
_BUSY: Final = frozenset({429, 503})
_DEFAULT_WAIT: Final = 30.0
_MINIMUM_WAIT: Final = 1.0
_DIGITS: Final = 12
"""More digits than any sane number of octets has; int() refuses thousands of them with an error of its own."""

_CHECK_PATH: Final = "Check the path of the url: the CA's manual names it, often with a profile or alias in it."

_STATUS: Final[dict[int, tuple[str, str]]] = {
    200: ("answered, but not with CMP", "Check host and path of the url: no CMP service is there."),
    400: ("calls the request malformed", f"{_CHECK_PATH} If it is right, see the server's log."),
    401: ("wants a login", "Correct the url: CMP has no HTTP login. If it is right, have the login removed for CMP."),
    403: ("forbids access", "Have this machine's address or TLS client certificate admitted at the server."),
    404: ("knows nothing at this path", _CHECK_PATH),
    405: ("does not allow POST here", _CHECK_PATH),
    407: ("is behind a proxy that wants a login", "Have the proxy admit this machine, or correct http: proxy."),
    413: ("calls the request too large", "Raise the limit for request bodies at the server or the gateway before it."),
    415: ("does not take CMP here", _CHECK_PATH),
    502: ("is a gateway that cannot reach the CA", "See whether the CA behind the gateway is running; we try again."),
    504: ("is a gateway that the CA does not answer", "See whether the CA behind it is overloaded; we try again."),
}
_STATUS_CLASS: Final[dict[int, tuple[str, str]]] = {
    1: ("answered with an interim status only", "Check host and port of the url: it leads to something else than CMP."),
    2: ("answered with a status that CMP does not use", _CHECK_PATH),
    4: ("refuses the request", f"{_CHECK_PATH} If it is right, see the server's log."),
    5: ("has an internal problem", "See the server's log; we try again."),
}
_UNKNOWN_STATUS: Final = ("answered with a status that HTTP does not know", "Check host and port of the url.")


@frozen(kw_only=True)
class Head:
    """Status and headers of an answer, the latter by their names in lower case."""

    status: int
    headers: Mapping[str, str]
    reason: str = ""
    """What the status line says beside the status."""
    persistent: bool = True
    """Whether the server keeps the connection."""

    @property
    def media_type(self) -> str:
        """The content type without parameters, in lower case; empty when there is none."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def may_carry_cmp(self) -> bool:
        """Whether a body of this answer is a CMP message: 200 or any error, with the right content type."""
        return self.media_type == CONTENT_TYPE and (self.status == _OK or self.status in _ERROR)

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks; Content-Length then means nothing (RFC 9112 section 6.3)."""
        return self.headers.get("transfer-encoding", "").strip().lower() == "chunked"

    @property
    def length(self) -> int | None:
        """The announced length of the body in octets; None without one, or with nonsense in its place."""
        announced = self.headers.get("content-length", "")
        return int(announced) if _is_length(announced) and not self.chunked else None


def refuse_framing(head: Head, where: str, maximum: int) -> None:
    """Raise NotCmp when the body must not even be read: encoded, of no clear length, or longer than ``maximum``."""
    encodings = [head.headers.get("content-encoding", "").strip().lower()]
    encodings += [] if head.chunked else [head.headers.get("transfer-encoding", "").strip().lower()]
    for encoding in encodings:
        if encoding not in {"", "identity"}:
            raise NotCmp(
                f"{where} answered with an encoded body ({printable(encoding, 40)}), although we asked for none",
                remedy="Turn off compression for CMP at the server or the gateway before it.",
            )
    announced = head.headers.get("content-length")
    if announced is None or head.chunked:
        return
    if not (announced.isascii() and announced.isdecimal()):
        raise NotCmp(
            f'{where} answered with the nonsensical length "{printable(announced, 40)}"',
            remedy="See what stands between here and the CA: an answer like this is not from a CMP server.",
        )
    if len(announced) > _DIGITS or int(announced) > maximum:
        raise too_large(where, f"{printable(announced, 40)} octets", maximum)


def _is_length(announced: str) -> bool:
    return announced.isascii() and announced.isdecimal() and len(announced) <= _DIGITS


def too_large(where: str, size: str, maximum: int) -> TooLarge:
    """Return the error for an answer beyond the cap; ``size`` says how large in words."""
    return TooLarge(
        f"{where} answered with {size}, more than the {maximum} octets we accept",
        remedy="Check that the url leads to a CMP service; if it does, raise http: maximum-response.",
    )


def explain(head: Head, where: str, beginning: bytes, *, now: float, max_wait: float) -> TransportError:
    """Return the error for an answer that carries no CMP message.

    ``beginning`` is the start of its body, ``now`` the seconds since 1970, ``max_wait`` the bound of Retry-After.
    """
    if head.status in _REDIRECT:
        location = printable(head.headers.get("location", "nowhere"))
        return NotCmp(
            f"{where} redirects (HTTP status {head.status}), and redirects are never followed",
            remedy=f"If {location} is the CA's address, put it into urls; if not, ask who redirects.",
        )
    if head.status in _BUSY:
        wait = retry_after(head, now, max_wait)
        return ServerBusy(
            f"{where} is busy (HTTP status {head.status})",
            remedy=f"Nothing to do: we try again in {wait:.0f} seconds.",
            retry_after=wait,
        )
    if head.may_carry_cmp and head.status == _OK:
        return NotCmp(
            f"{where} sent an empty answer", remedy="See the server's log: it accepted the request and said nothing."
        )
    said, remedy = _STATUS.get(head.status) or _STATUS_CLASS.get(head.status // 100) or _UNKNOWN_STATUS
    return NotCmp(f"{where} {said} (HTTP status {head.status}; {_content(head, beginning)})", remedy=remedy)


def retry_after(head: Head, now: float, max_wait: float) -> float:
    """Return how many seconds to wait, within 1 and ``max_wait`` (RFC 9110 section 10.2.3); 30 when nobody says.

    A date is measured against the server's own Date where it sends one: our clock may be wrong, the difference is not.
    """
    value = head.headers.get("retry-after", "").strip()
    seconds: float = _DEFAULT_WAIT
    if value.isascii() and value.isdecimal():
        seconds = float(value)
    elif (date := _timestamp(value)) is not None:
        served = _timestamp(head.headers.get("date", ""))
        seconds = date - (now if served is None else served)
    return min(max(seconds, _MINIMUM_WAIT), max_wait)


def _timestamp(date: str) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - brings much along, and busy servers are rare

    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError, TypeError):
        return None


def _content(head: Head, beginning: bytes) -> str:
    """Say what the body is instead of CMP."""
    text = beginning.decode("utf-8", "replace")
    lower = text.lower()  # for finding only: lower() may change the length of odd letters
    if head.media_type == "text/html" or lower.lstrip().startswith(("<!doctype html", "<html")):
        title = _title(text)
        return f'a web page titled "{title}" answered' if title else "a web page answered"
    if not beginning:
        return "nothing more was said"
    return f"the content type is {printable(head.media_type, 80)}" if head.media_type else "it names no content type"


def _title(page: str) -> str:
    """Return the page's title for people: found by plain searches, as regular expressions can be made to crawl."""
    import html  # noqa: PLC0415 - its table of entities is large, and web pages are rare

    lower = page.lower() if len(page.lower()) == len(page) else page
    start = lower.find("<title")
    start = lower.find(">", start) + 1 if start >= 0 else 0
    end = lower.find("<", start)
    if start <= 0 or end < 0:
        return ""
    return printable(" ".join(html.unescape(page[start:end]).split()), 80)
