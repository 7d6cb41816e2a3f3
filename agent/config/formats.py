"""The rules for text in a certain form, one row a format: how to check it, and how to describe it.

A check returns the text in its one spelling, with paths made absolute, or raises :class:`Wrong`. The texts of secrets
are never repeated, because a person may have written the secret itself.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent import units
from agent.config.findings import Wrong, shown
from agent.config.names import alternative_name, distinguished_name, host_name, ip_address
from agent.frozen import frozen
from agent.settings import Format

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?"
)
_AUTHORITY: Final = re.compile(r"(?:\[(?P<literal>[^\]]*)\]|(?P<name>[^:\[\]]*))(?::(?P<port>.*))?")
_URL_SIGNS: Final = re.compile(r"(?:%[0-9A-Fa-f]{2}|[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-])*")
_LARGEST_PORT: Final = 65_535
_URL_EXAMPLE: Final = "write it like http://ra.operator.example/.well-known/cmp"
_CREDENTIAL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_LONGEST_PATTERN: Final = 1000
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_OTHERS: Final = 0o007
_OWNER_READS: Final = 0o400


@frozen
class Rule:
    """``check(text, base)`` reads it; ``pattern`` is what an editor can check (JSON Schema); ``form`` is for people.

    ``measure`` turns the text into the number that a setting's bounds are about.
    """

    form: str
    pattern: str
    check: Callable[[str, Path], str]
    measure: Callable[[str], float] | None = None


def path(text: str, base: Path) -> Path:
    """Return the absolute path that ``text`` means in a file in ``base``.

    Raises:
        Wrong: for a path that only a shell understands.
    """
    if text.startswith("~") or "$" in text:
        raise Wrong(f"{shown(text)} is for a shell: ~ and $ are not replaced here", "write the path out")
    return base / text


def _url(text: str, _base: Path) -> str:
    return _address(text, schemes=("http", "https"), bare=False)


def _proxy(text: str, _base: Path) -> str:
    return _address(text, schemes=("http",), bare=True)


def _address(text: str, *, schemes: tuple[str, ...], bare: bool) -> str:
    parts = _URL.fullmatch(text)
    if parts is None:
        raise Wrong("this is not a URL", _URL_EXAMPLE)
    if "@" in parts["authority"]:  # checked first and not shown: it may hold a password
        raise Wrong("the URL holds a user name or password", "remove what stands before the @: CMP does not need it")
    if parts["scheme"].lower() not in schemes:
        raise Wrong(
            f"the URL begins with {shown(parts['scheme'])}", f"write {' or '.join(f'{one}://' for one in schemes)}"
        )
    if parts["fragment"] is not None:
        raise Wrong("the URL holds a #", "remove it and what follows: it is never sent")
    if not _URL_SIGNS.fullmatch(text):
        raise Wrong(
            "the URL holds a space or another sign not allowed there", "write it as % and two hexadecimal digits"
        )
    if bare and (parts["path"] not in {"", "/"} or parts["query"]):
        raise Wrong("the URL of a proxy has no path", "remove what follows the port")
    _check_authority(parts["authority"])
    return parts["scheme"].lower() + text[len(parts["scheme"]) :]


def _check_authority(authority: str) -> None:
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None or (parts["literal"] is None and (parts["port"] or "").count(":")):
        raise Wrong(
            f"the host {shown(authority)} cannot be read", "put an IPv6 address in brackets: http://[2001:db8::1]/"
        )
    if parts["literal"] is not None:
        _check_literal(parts["literal"])
    elif not parts["name"]:
        raise Wrong("the URL names no host", _URL_EXAMPLE)
    elif re.fullmatch(r"[0-9.]+", parts["name"]):
        ip_address(parts["name"])
    else:
        host_name(parts["name"].removesuffix("."), underscore=True)
    port = parts["port"]
    if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 0 < int(port) <= _LARGEST_PORT):
        raise Wrong(
            f"the port {shown(port)} is not from 1 to {_LARGEST_PORT}", "correct it, or leave it out with the colon"
        )


def _check_literal(literal: str) -> None:
    if ":" not in literal:
        raise Wrong(f"{shown(literal)} in brackets is not an IPv6 address", "brackets are for IPv6 addresses only")
    ip_address(literal.replace("%25", "%", 1), zone=True)


def _ip_address(text: str, _base: Path) -> str:
    return ip_address(text, zone=True)


def _distinguished_name(text: str, _base: Path) -> str:
    return distinguished_name(text)


def _alternative_name(text: str, _base: Path) -> str:
    return alternative_name(text)


def _regular_expression(text: str, _base: Path) -> str:
    if len(text) > _LONGEST_PATTERN:
        raise Wrong(f"the regular expression is longer than {_LONGEST_PATTERN} characters", "shorten it")
    try:
        with warnings.catch_warnings(action="ignore"):
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise Wrong(f"this is no regular expression: {error}", "correct it; put it in single quotes") from error
    return text


def _secret_source(text: str, base: Path) -> str:
    kind, _, rest = text.partition(":")
    if text == "prompt":
        return text
    if kind == "credential":
        if not _CREDENTIAL.fullmatch(rest):
            raise Wrong(
                "this is no name of a systemd credential", "write credential:NAME, in letters, digits, . _ and -"
            )
        return text
    if kind == "file":
        if not rest or rest.startswith("//"):
            raise Wrong("file: is followed by no path", "write file:PATH, without slashes in front of the path")
        return f"file:{path(rest, base)}"
    raise Wrong(
        "a secret does not stand in this file",
        "write credential:NAME, file:PATH or prompt; if this was the secret itself, put it there and have it changed",
    )


def _key_source(text: str, base: Path) -> str:
    if not text.startswith("pkcs11:"):
        return str(path(text, base))
    if re.search(r"[?&]pin-value=", text):
        raise Wrong("the URI holds a PIN", "remove pin-value, and give the token a pin under tokens")
    if not re.fullmatch(r"pkcs11:(?:[A-Za-z0-9_-]+=[^;?&\s]*(?:[;?&](?=.)|$))+", text):
        raise Wrong("this is not a pkcs11: URI", 'write it like "pkcs11:token=enb;object=ike"')
    return text


def _socket(text: str, _base: Path) -> str:
    if not text.startswith("/"):
        raise Wrong(f"{shown(text)} is not the absolute path of a socket", "write it like /run/charon.vici")
    return text


def _duration(text: str, _base: Path) -> str:
    return _measured(units.seconds, text, "a duration", "write it like 30s, 5m, 24h or 7d")


def _percent(text: str, _base: Path) -> str:
    remedy = f"write {text}%" if re.fullmatch(r"[0-9]{1,3}", text) else "write it like 66%"
    return _measured(units.percent, text, "a percentage", remedy)


def _mode(text: str, _base: Path) -> str:
    _measured(units.file_mode, text, "a file mode", 'write it like "0640"')
    mode = units.file_mode(text)
    if mode & _OTHERS or not mode & _OWNER_READS:
        raise Wrong("the mode is for a private key too: its owner must read it and others must not", 'write "0640"')
    return text


def _key_hash(text: str, _base: Path) -> str:
    digits = text.replace(":", "").lower()
    if not _SHA256.fullmatch(digits):
        raise Wrong(
            f"{shown(text)} is no SHA-256 in hexadecimal", "write 64 hexadecimal digits, with or without colons"
        )
    return digits


def _measured(measure: Callable[[str], float], text: str, what: str, remedy: str) -> str:
    try:
        measure(text)
    except ValueError:
        raise Wrong(f"{shown(text)} is not {what}", remedy) from None
    return text


RULES: Final[dict[Format, Rule]] = {
    Format.URL: Rule("http or https URL", r"^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+[^#\s]*$", _url),
    Format.PROXY: Rule("http URL without a path", r"^[Hh][Tt][Tt][Pp]://[^/?#@\s]+/?$", _proxy),
    Format.IP_ADDRESS: Rule("IP address", r"^[0-9A-Fa-f:.]+(%.+)?$", _ip_address),
    Format.DISTINGUISHED_NAME: Rule("distinguished name (RFC 4514)", r"^[^/=]+=.+$", _distinguished_name),
    Format.ALTERNATIVE_NAME: Rule(
        "`dns:`, `ip:`, `uri:` or `email:` and a name",
        r"^([Dd][Nn][Ss]|[Ii][Pp]|[Uu][Rr][Ii]|[Ee][Mm][Aa][Ii][Ll]):.+$",
        _alternative_name,
    ),
    Format.REGULAR_EXPRESSION: Rule("regular expression", r"^.+$", _regular_expression),
    Format.SECRET_SOURCE: Rule(
        "`credential:NAME`, `file:PATH` or `prompt`",
        r"^(prompt|credential:[A-Za-z0-9_][A-Za-z0-9._-]*|file:.+)$",
        _secret_source,
    ),
    Format.KEY_SOURCE: Rule("path or `pkcs11:` URI", r"^.+$", _key_source),
    Format.SOCKET: Rule("absolute path", r"^/.*$", _socket),
    Format.DURATION: Rule("duration", rf"^{units.DURATION}$", _duration, units.seconds),
    Format.PERCENT: Rule("percentage", rf"^{units.PERCENT}$", _percent, units.percent),
    Format.MODE: Rule("octal mode in quotes", rf"^{units.MODE}$", _mode),
    Format.KEY_HASH: Rule("SHA-256 in hexadecimal", r"^([0-9A-Fa-f]{2}:?){32}$", _key_hash),
}
