"""``pkcs11:`` URIs (RFC 7512): what is written is read back, what is not of the form is refused, and nothing else."""

from __future__ import annotations

from random import Random
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hsm.errors import KeyNotFound
from hsm.uri import KeyUri, is_token_key, parse

LABELS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=64)
URIS = st.builds(KeyUri, token=LABELS, serial=LABELS, object=LABELS, id=st.none() | st.binary(max_size=64))
HALF_RIGHT = st.text(alphabet="pkcs11:;=?&%x-0aF/[]'\u00e9\0 ", max_size=40)
"""Text in which the characters that matter are frequent."""


@given(URIS)
@example(KeyUri(token="", object="", id=b""))
@example(KeyUri(token=";?&=%/ \0é", object="pin-value"))
@example(KeyUri(object="a&pin-value=1234"))
def test_what_is_written_is_read_back(where: KeyUri) -> None:
    text = str(where)
    assert is_token_key(text)
    assert text.isascii()
    assert parse(text) == where
    assert where.names_a_key is (where.id is not None or where.object is not None)


@given(st.text(), HALF_RIGHT)
@example("\udce9", "\udce9")
@example("", "token=" + "a" * 5000)
def test_any_text_is_a_uri_or_refused_with_a_remedy(text: str, half: str) -> None:
    for one in (text, f"pkcs11:{text}", f"pkcs11:token=enb;{half}", f"pkcs11:id=%01?{half}", f"pkcs11:{half}"):
        try:
            found = parse(one)
        except KeyNotFound as refused:
            assert refused.remedy  # noqa: PT017 - either may come
        else:
            assert parse(str(found)) == found


@given(URIS, st.randoms(use_true_random=False))
def test_how_much_is_percent_encoded_does_not_matter(where: KeyUri, chance: Random) -> None:
    """RFC 3986 section 6.2.2.2, and lower-case digits (6.2.2.1)."""
    parts = []
    for name, value in (("token", where.token), ("serial", where.serial), ("object", where.object)):
        if value is not None:
            every = "".join(f"%{octet:02x}" for octet in value.encode())
            parts.append(f"{name}={chance.choice([every, quote(value, safe='')])}")
    if where.id is not None:
        parts.append("id=" + "".join(f"%{octet:02x}" for octet in where.id))
    chance.shuffle(parts)
    assert parse("pkcs11:" + ";".join(parts)) == where


@pytest.mark.parametrize(
    ("text", "meant"),
    [  # RFC 7512 section 3, where a private key can be meant
        ("pkcs11:", KeyUri()),
        ("pkcs11:object=my-pubkey;type=private", KeyUri(object="my-pubkey")),
        (
            (
                "pkcs11:token=The%20Software%20PKCS%2311%20Softtoken;manufacturer=Snake%20Oil,%20Inc.;model=1.0;"
                "object=my-certificate;id=%69%95%3E%5C%F4%BD%EC%91;serial="
            ),
            KeyUri(
                token="The Software PKCS#11 Softtoken",
                object="my-certificate",
                id=b"\x69\x95\x3e\x5c\xf4\xbd\xec\x91",
                serial="",
            ),
        ),
        (
            "pkcs11:token=A%20name%20with%20a%20substring%20%25%3B;object=my",
            KeyUri(token="A name with a substring %;", object="my"),
        ),
        ("pkcs11:object=a?module-name=pkcs11&module-path=/usr/lib/p.so", KeyUri(object="a")),
        ("pkcs11:slot-id=327;library-version=3.1;x-vendor=5;id=%01", KeyUri(id=b"\1")),
    ],
)
def test_the_forms_of_the_standard_are_read(text: str, meant: KeyUri) -> None:
    assert parse(text) == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file:///key", "it is no pkcs11: URI"),
        ("PKCS11:token=enb", "it is no pkcs11: URI"),
        ("pkcs11:token=a;token=b", "it names token twice"),
        ("pkcs11:object=a?module-name=x&module-name=y", "it names module-name twice"),
        ("pkcs11:object=a;type=cert", "a private key is wanted"),
        ("pkcs11:object=%FF", "object is not UTF-8"),
        ("pkcs11:object=%F", "is not of the form name=value"),
        ("pkcs11:object", "is not of the form name=value"),
        ("pkcs11:colour=red", "nobody here knows colour"),
        ("pkcs11:object=a?colour=red", "nobody here knows colour"),
        ("pkcs11:object=a?pin-value=1234", "it holds a PIN"),
        ("pkcs11:object=a?pin-source=file:/etc/pin", "it holds a PIN"),
        ("pkcs11:pin-value=1234;object=a", "it holds a PIN"),
        ("pkcs11:colour=red?colour=red&PIN-VALUE=1234", "it holds a PIN"),
    ],
)
def test_what_is_not_of_the_form_is_refused_and_says_why(text: str, why: str) -> None:
    with pytest.raises(KeyNotFound) as refused:
        parse(text)
    assert why in str(refused.value)
    assert "1234" not in str(refused.value)
