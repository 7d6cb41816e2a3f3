from __future__ import annotations

import pytest

from agent.cmp.algorithms import SIGNATURES
from agent.cmp.errors import LocalError
from agent.cmp.profiles import PROFILES, Profile
from agent.settings import KeyAlgorithm, ProfileName
from hsm.algorithms import KEY_PARAMETERS, SCHEMES
from hsm.algorithms import KeyAlgorithm as Algorithm

MODERN = [PROFILES["lightweight"], PROFILES["3gpp"]]
BACKHAUL = PROFILES["backhaul"]
RSA = KEY_PARAMETERS[Algorithm.RSA_2048].schemes
EC = KEY_PARAMETERS[Algorithm.EC_P384].schemes
DSA = KEY_PARAMETERS[Algorithm.DSA_1024].schemes


def test_every_profile_that_can_be_configured_is_there() -> None:
    assert set(PROFILES) == {str(name) for name in ProfileName}


def test_backhaul_alone_allows_what_the_key_stores_call_legacy() -> None:
    weak_keys = {str(name) for name, rule in KEY_PARAMETERS.items() if rule.legacy}
    weak_signatures = {str(name) for name, rule in SCHEMES.items() if rule.legacy}
    assert BACKHAUL.keys == {str(name) for name in KeyAlgorithm}
    assert BACKHAUL.signatures >= {str(name) for name in SCHEMES}
    for profile in MODERN:
        assert profile.keys == BACKHAUL.keys - weak_keys
        assert profile.signatures.isdisjoint(weak_signatures)
        assert not any(SIGNATURES[name].legacy for name in profile.signatures)
    assert [name for name, profile in PROFILES.items() if profile.legacy] == ["backhaul"]


def test_legacy_is_one_switch_in_every_part_of_a_profile() -> None:
    for profile in PROFILES.values():
        assert profile.protection.legacy == profile.legacy
        assert ("sha1" in profile.algorithms.hashes) == profile.legacy
        assert (profile.algorithms.rsa_bits < 2048) == profile.legacy
        assert (profile.algorithms.dsa_bits is not None) == profile.legacy
        assert bool(profile.warning) == profile.legacy


@pytest.mark.parametrize("profile", MODERN, ids=lambda profile: profile.name)
def test_a_key_signs_its_best_way(profile: Profile) -> None:
    for rule in KEY_PARAMETERS.values():
        if rule.schemes and not rule.legacy:
            assert profile.signature_for(rule.schemes) == rule.schemes[0]


def test_backhaul_signs_with_sha1_and_with_md5_only_when_told_to() -> None:
    assert BACKHAUL.signature_for(RSA) == "rsa-pkcs1-sha1"
    assert BACKHAUL.signature_for(DSA) == "dsa-sha1"
    assert BACKHAUL.signature_for(RSA, "rsa-pkcs1-md5") == "rsa-pkcs1-md5"
    assert BACKHAUL.signature_for(RSA, "rsa-pkcs1-sha256") == "rsa-pkcs1-sha256"
    with pytest.raises(LocalError, match="signs with rsa-pkcs1-md5 only"):
        BACKHAUL.signature_for(("rsa-pkcs1-md5",))


def test_backhaul_signs_with_kinds_of_keys_of_later_days_as_they_do_best() -> None:
    assert BACKHAUL.signature_for(EC) == "ecdsa-sha384"
    assert BACKHAUL.signature_for(EC, "ecdsa-sha1") == "ecdsa-sha1"


@pytest.mark.parametrize("profile", MODERN, ids=lambda profile: profile.name)
@pytest.mark.parametrize("name", [str(name) for name, rule in SCHEMES.items() if rule.legacy])
def test_a_legacy_signature_is_made_in_no_other_profile(profile: Profile, name: str) -> None:
    with pytest.raises(LocalError, match=f"does not allow the signature algorithm {name}") as caught:
        profile.signature_for((name, *RSA), name)
    assert "`backhaul`" in caught.value.remedy
    with pytest.raises(LocalError, match=f"signs with {name} only"):
        profile.signature_for((name,))


def test_a_signature_that_is_asked_for_is_for_keys_of_its_kind() -> None:
    light = PROFILES["lightweight"]
    assert light.signature_for(RSA, "rsa-pss-sha384") == "rsa-pss-sha384"
    assert light.signature_for(EC, "rsa-pss-sha384") == "ecdsa-sha384"


def test_a_key_of_the_right_kind_that_cannot_do_it_is_not_silently_used_otherwise() -> None:
    """A token that knows no PSS, say: the operator asked for it, and would wonder about the RA's refusal."""
    with pytest.raises(LocalError, match="does not sign with rsa-pss-sha256") as caught:
        PROFILES["lightweight"].signature_for(("rsa-pkcs1-sha256",), "rsa-pss-sha256")
    assert "rsa-pkcs1-sha256" in caught.value.remedy


def test_a_key_that_does_not_sign_is_named() -> None:
    with pytest.raises(LocalError, match="the key does not sign") as caught:
        PROFILES["lightweight"].signature_for(())
    assert "`key` of the identity" in caught.value.remedy
