from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from agent import config
from agent.cmp.profiles import PROFILES
from agent.errors import ConfigurationError
from agent.settings import KeyAlgorithm, KeyUsage, ProfileName, RequestType, SignatureName
from hsm.algorithms import KEY_PARAMETERS

SECRET = "shared-secret: {reference: a, secret: prompt}"
VENDOR = "vendor-certificate: {certificate: vendor.pem, key: vendor.key}"


def document(authority: str = "", identity: str = "", bootstrap: str = SECRET) -> str:
    if "usage: encipherment" in identity or "usage: agreement" in identity:
        identity += "\nrenewal: {method: enroll}"  # such a key signs no kur
    return (
        "authorities:\n  operator:\n    urls: [http://ra.example]\n    trust-anchors: [root.pem]\n"
        f"{textwrap.indent(authority, '    ')}\n"
        f"identities:\n  ike:\n    authority: operator\n    subject: CN=enb\n    bootstrap: {{{bootstrap}}}\n"
        f"{textwrap.indent(identity, '    ')}\n"
    )


def mistakes(text: str) -> list[str]:
    """Return what is wrong, without place and remedy."""
    try:
        config.parse(text, source=Path("/etc/enrolld/enrolld.yaml"))
    except ConfigurationError as error:
        return [line.split(": ", 1)[1].split(" (")[0] for line in error.mistakes]
    return []


def warnings(text: str) -> list[str]:
    return [str(notice) for notice in config.warnings(config.parse(text, source=Path("/etc/enrolld/enrolld.yaml")))]


@pytest.mark.parametrize("profile", ProfileName)
def test_the_keys_that_can_be_configured_are_those_of_the_profile(profile: ProfileName) -> None:
    allowed = PROFILES[profile].keys
    for algorithm in KeyAlgorithm:
        usage = KeyUsage.SIGNATURE if algorithm is not KeyAlgorithm.X25519 else KeyUsage.AGREEMENT
        said = mistakes(document(f"profile: {profile}", f"key: {{algorithm: {algorithm}, usage: {usage}}}", VENDOR))
        assert bool(said) == (algorithm not in allowed)
        about = (
            "key.algorithm: may have 1024 bits only",
            "key.algorithm: must be RSA or EC",
            "key.usage: must be sign",
        )
        assert all(line.startswith(tuple(f"identities.ike.{one}" for one in about)) for line in said)


@pytest.mark.parametrize("profile", ProfileName)
def test_the_signatures_that_can_be_configured_are_those_of_the_profile(profile: ProfileName) -> None:
    allowed = PROFILES[profile].signatures
    for signature in SignatureName:
        said = mistakes(document(f"profile: {profile}\nsignature: {signature}", bootstrap=VENDOR))
        assert bool(said) == (signature not in allowed)
        about = ("may be one with MD5, SHA-1 or DSA", "must be of RSA or EC")
        assert all(line.startswith(tuple(f"authorities.operator.signature: {one}" for one in about)) for line in said)


@pytest.mark.parametrize("profile", ProfileName)
def test_the_first_requests_that_can_be_configured_are_those_of_the_profile(profile: ProfileName) -> None:
    allowed = {one.label for one in PROFILES[profile].requests}
    for request in RequestType:
        said = mistakes(document(f"profile: {profile}", f"request: {request}", VENDOR))
        assert bool(said) == (request not in allowed)


def test_a_refusal_names_what_to_choose_instead() -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.parse(document("signature: rsa-pkcs1-md5", "key: {algorithm: dsa-1024}"), source=Path("/a.yaml"))
    assert "such as rsa-pkcs1-sha256" in caught.value.mistakes[0]
    assert "choose ec-p256" in caught.value.mistakes[1]


def test_a_weak_key_of_an_authority_that_does_not_exist_is_named_once() -> None:
    text = document(identity="key: {algorithm: rsa-1024}").replace("authority: operator", "authority: other")
    (said,) = mistakes(text)
    assert "must be the name of an authority" in said


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_key_is_used_for_what_it_can_do(algorithm: KeyAlgorithm) -> None:
    rule = KEY_PARAMETERS[algorithm]  # type: ignore[index]
    abilities = {"signature": rule.schemes, "encipherment": rule.ciphers, "agreement": rule.agrees}
    for usage, can in abilities.items():
        said = mistakes(document("profile: backhaul", f"key: {{algorithm: {algorithm}, usage: {usage}}}"))
        assert said == ([] if can else [f"identities.ike.key.usage: {USAGE}"])


USAGE = (
    "must be what such a key can do: RSA signs and deciphers, EC signs and agrees, X25519 only agrees, all others only "
    "sign"
)


def test_the_remedy_lists_what_the_key_can_do() -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.parse(document(identity="key: {algorithm: ec-p256, usage: encipherment}"), source=Path("/a.yaml"))
    assert "(choose signature or agreement)" in caught.value.mistakes[0]


def test_what_a_key_made_elsewhere_can_do_is_left_to_its_file() -> None:
    assert mistakes(document(identity="key: {existing: factory.key, usage: encipherment}")) == []


def test_a_key_that_does_not_sign_makes_no_pkcs10_request() -> None:
    (said,) = mistakes(document(identity="key: {algorithm: rsa-2048, usage: encipherment}\nrequest: p10cr"))
    assert said.startswith("identities.ike.request: must not be p10cr for a key that does not sign")


def test_using_the_profile_for_old_servers_is_warned_about_with_the_reason() -> None:
    (said,) = warnings(document("profile: backhaul\nmac: {one-way-function: sha1, mac: hmac-sha1-ietf}"))
    assert said.startswith("authorities.operator.profile: allows SHA-1, MD5, DSA and RSA with 1024 bits")


def test_a_signature_that_no_key_of_the_authority_makes_is_warned_about() -> None:
    (said,) = warnings(document("signature: rsa-pss-sha256", "key: {algorithm: ec-p256}"))
    assert said.startswith("authorities.operator.signature: is for another kind of key")


@pytest.mark.parametrize(
    "text",
    [
        document("signature: rsa-pss-sha256", "key: {algorithm: rsa-3072}"),
        document("signature: rsa-pss-sha256", "key: {existing: factory.key}"),
        document("signature: rsa-pss-sha256", "key: {algorithm: ec-p256}", VENDOR),
        document(identity="key: {algorithm: ml-dsa-65}"),
        document("profile: 3gpp", "key: {algorithm: rsa-3072}", VENDOR),
    ],
)
def test_what_fits_together_raises_no_warning(text: str) -> None:
    assert warnings(text) == []


def test_a_key_that_3gpp_does_not_name_is_warned_about() -> None:
    (said,) = warnings(document("profile: 3gpp", "key: {algorithm: ed25519}", VENDOR))
    assert said.startswith("identities.ike.key.algorithm: is not RSA or EC, the only kinds TS 33.310 names")
