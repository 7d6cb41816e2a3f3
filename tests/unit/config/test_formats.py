from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config.findings import Wrong
from agent.config.formats import RULES, path
from agent.net.route import routes
from agent.settings import Format, HttpSettings

BASE = Path("/etc/enrolld")


def refusal(format_: Format, text: str) -> str:
    """Why a text is refused and what to do; empty when it is taken."""
    try:
        RULES[format_].check(text, BASE)
    except Wrong as wrong:
        return f"{wrong.text} ({wrong.remedy})"
    return ""


ACCEPTED = {
    Format.URL: {
        "http://ra.example": "http://ra.example",
        "http://ra.example/.well-known/cmp/p/gnb?x=1": "http://ra.example/.well-known/cmp/p/gnb?x=1",
        "HTTPS://ra.example:8443/": "https://ra.example:8443/",
        "http://192.0.2.1:80/cmp": "http://192.0.2.1:80/cmp",
        "http://[2001:db8::1]/cmp": "http://[2001:db8::1]/cmp",
        "http://[2001:db8::1]:8080/cmp": "http://[2001:db8::1]:8080/cmp",
        "http://[fe80::1%25eth0]/cmp": "http://[fe80::1%25eth0]/cmp",
        "http://cmp_ra.:65535/a%20b": "http://cmp_ra.:65535/a%20b",
    },
    Format.PROXY: {"http://proxy.example:3128": "http://proxy.example:3128", "http://[::1]:1/": "http://[::1]:1/"},
    Format.IP_ADDRESS: {"192.0.2.7": "192.0.2.7", "2001:db8::7": "2001:db8::7", "fe80::1%eth0": "fe80::1%eth0"},
    Format.DISTINGUISHED_NAME: {"cn=a, o=b": "CN=a,O=b"},
    Format.ALTERNATIVE_NAME: {"IP:192.0.2.7": "ip:192.0.2.7"},
    Format.REGULAR_EXPRESSION: {r"CN=enb-\d+(,.*)?": r"CN=enb-\d+(,.*)?", "[[a]": "[[a]"},
    Format.SECRET_SOURCE: {
        "prompt": "prompt",
        "credential:ike-secret": "credential:ike-secret",
        "file:secret": "file:/etc/enrolld/secret",
        "file:/run/secret": "file:/run/secret",
    },
    Format.KEY_SOURCE: {
        "factory.key": "/etc/enrolld/factory.key",
        "/etc/a b.key": "/etc/a b.key",
        "pkcs11:token=enb;object=ike;id=%01?module-path=/lib/x.so": (
            "pkcs11:token=enb;object=ike;id=%01?module-path=/lib/x.so"
        ),
    },
    Format.SOCKET: {"/run/charon.vici": "/run/charon.vici"},
    Format.DURATION: {"30s": "30s", "30": "30", "1.5h": "1.5h", "250ms": "250ms"},
    Format.PERCENT: {"66%": "66%", "0%": "0%", "33.3%": "33.3%"},
    Format.MODE: {"0640": "0640", "600": "600", "0440": "0440"},
    Format.KEY_HASH: {"AB" * 32: "ab" * 32, "0a:" * 31 + "0A": "0a" * 32},
}

REFUSED = {
    Format.URL: {
        "ra.example/cmp": "this is not a URL",
        "ftp://ra.example": "the URL begins with 'ftp' (write http:// or https://)",
        "http://": "the URL names no host",
        "http:///cmp": "the URL names no host",
        "http://:80/": "the URL names no host",
        "http://user:hunter2@ra.example/": "the URL holds a user name or password",
        "http://ra.example/#top": "the URL holds a #",
        "http://ra.example/a b": "another sign not allowed",
        "http://ra.example/å": "another sign not allowed",
        "http://ra.example/%zz": "another sign not allowed",
        "http://ra.example\\cmp": "another sign not allowed",
        "http://ra.example:0/": "the port '0' is not from 1 to 65535",
        "http://ra.example:65536/": "the port '65536' is not from 1 to 65535",
        "http://ra.example:/": "the port '' is not from 1 to 65535",
        "http://ra.example:http/": "the port 'http' is not",
        "http://2001:db8::1/": "put an IPv6 address in brackets: http://[2001:db8::1]/",
        "http://[2001:db8::1/": "put an IPv6 address in brackets",
        "http://[2001:db8::g]/": "'2001:db8::g' is not an IP address",
        "http://[192.0.2.1]/": "in brackets is not an IPv6 address",
        "http://[ra.example]/": "in brackets is not an IPv6 address",
        "http://192.0.2.256/": "is not an IP address",
        "http://192.0.2/": "is not an IP address",
        "http://ra..example/": "is not a host name",
        "http://-ra.example/": "is not a host name",
    },
    Format.PROXY: {
        "https://proxy.example:3128": "the URL begins with 'https' (write http://)",
        "socks5://proxy.example": "the URL begins with 'socks5'",
        "http://proxy.example/path": "the URL of a proxy has no path",
        "proxy.example:3128": "this is not a URL",
    },
    Format.IP_ADDRESS: {
        "eth0": "is not an IP address",
        "192.0.2.7/24": "has a prefix length",
        "224.0.0.1": "one machine",
    },
    Format.DISTINGUISHED_NAME: {"enb": "has no = between"},
    Format.ALTERNATIVE_NAME: {"enb": "expected dns:NAME"},
    Format.REGULAR_EXPRESSION: {
        "CN=(": "this is no regular expression: ",
        "*": "this is no regular expression: ",
        "a{9999999999999}": "this is no regular expression: ",
        "(" * 900: "this is no regular expression: ",
        "a" * 1001: "longer than 1000",
    },
    Format.SECRET_SOURCE: {
        "hunter2": "a secret does not stand in this file",
        "Prompt": "a secret does not stand in this file",
        "credential:": "no name of a systemd credential",
        "credential:../shadow": "no name of a systemd credential",
        "credential: ike": "no name of a systemd credential",
        "file:": "followed by no path",
        "file:///run/secret": "followed by no path",
        "file:~/secret": "for a shell",
    },
    Format.KEY_SOURCE: {
        "~/a.key": "for a shell",
        "$HOME/a.key": "for a shell",
        "pkcs11:": "not a pkcs11: URI",
        "pkcs11:enb": "not a pkcs11: URI",
        "pkcs11:token=a;": "not a pkcs11: URI",
        "pkcs11:token=a b": "not a pkcs11: URI",
        "pkcs11:token=a?pin-value=1234": "the URI holds a PIN",
    },
    Format.SOCKET: {"charon.vici": "not the absolute path of a socket", "tcp://127.0.0.1": "not the absolute path"},
    Format.DURATION: {"soon": "'soon' is not a duration (write it like 30s", "1h30m": "is not a duration"},
    Format.PERCENT: {"66": "(write 66%)", "0.66": "(write it like 66%)", "two thirds": "is not a percentage"},
    Format.MODE: {
        "rw-r-----": "is not a file mode",
        "04755": "is not a file mode",
        "0644": "others must not",
        "0040": "its owner must read it",
    },
    Format.KEY_HASH: {"ab" * 31: "is no SHA-256", "xy" * 32: "is no SHA-256", "sha256:" + "ab" * 32: "is no SHA-256"},
}


@pytest.mark.parametrize(
    ("format_", "text", "spelling"),
    [(format_, text, spelling) for format_, texts in ACCEPTED.items() for text, spelling in texts.items()],
)
def test_a_text_of_its_format_is_taken_in_one_spelling(format_: Format, text: str, spelling: str) -> None:
    rule = RULES[format_]
    assert rule.check(text, BASE) == spelling
    assert rule.check(spelling, BASE) == spelling
    assert re.search(rule.pattern, text), "the JSON Schema refuses what the loader accepts"
    assert re.search(rule.pattern, spelling)


@pytest.mark.parametrize(
    ("format_", "text", "said"),
    [(format_, text, said) for format_, texts in REFUSED.items() for text, said in texts.items()],
)
def test_a_text_of_another_form_is_refused_with_a_remedy(format_: Format, text: str, said: str) -> None:
    assert said in refusal(format_, text)


def test_every_format_has_a_rule_and_is_tested() -> None:
    assert set(RULES) == set(ACCEPTED) == set(REFUSED) == set(Format)


@pytest.mark.parametrize("format_", [Format.SECRET_SOURCE, Format.URL, Format.PROXY, Format.KEY_SOURCE])
@pytest.mark.parametrize(
    "text",
    ["hunter2", "hunter2:x", "file:", "http://a:hunter2@b/", "http://a:hunter2@b:c@d/", "pkcs11:a=b?pin-value=hunter2"],
)
def test_what_may_be_a_secret_is_never_repeated(format_: Format, text: str) -> None:
    assert "hunter2" not in refusal(format_, text)


@given(st.text(st.sampled_from("htps:/[]@.:0123456789abf%#?-_ "), max_size=30).map(lambda rest: f"http://{rest}"))
def test_a_url_that_is_accepted_means_the_same_to_the_http_client(text: str) -> None:
    try:
        url = RULES[Format.URL].check(text, BASE)
    except Wrong:
        return
    (route,) = routes([url], HttpSettings())
    assert route.server.scheme == "http"
    assert route.server.host
    assert 0 < route.server.port < 65536
    assert route.path.startswith(("/", "?"))


@given(st.sampled_from(Format), st.text(min_size=1))
def test_any_text_is_taken_or_refused_with_a_remedy(format_: Format, text: str) -> None:
    assert re.fullmatch(r"|.+ \(.+\)", refusal(format_, text))


def test_a_path_is_not_for_a_shell() -> None:
    assert path("a/../b", BASE) == Path("/etc/enrolld/a/../b")
    with pytest.raises(Wrong, match="for a shell"):
        path("~root/a", BASE)
