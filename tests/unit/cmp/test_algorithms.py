from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import algorithms, by_schema, der, schema
from agent.cmp.algorithms import HASHES, MACS, NULL, SIGNATURES, Family, build_algorithm, parse_algorithm
from agent.cmp.errors import LocalError, MalformedMessage, ProtectionError
from hsm.algorithms import Scheme
from tests.unit.cmp import openssl, pki, strategies
from tests.unit.cmp.signers import KeyInMemory, sign

ENCODINGS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "encodings.json").read_text())
DATA = b"what is signed"
NO_LONGER_SIGNED_WITH = {"rsa-pkcs1-md5"}


@cache
def key_of(family: Family) -> Any:
    from cryptography.hazmat.primitives.asymmetric import mldsa  # noqa: PLC0415 - not in every version

    return {
        Family.RSA: lambda: rsa.generate_private_key(65537, 2048),
        Family.EC: lambda: ec.generate_private_key(ec.SECP256R1()),
        Family.DSA: lambda: dsa.generate_private_key(1024),
        Family.ED25519: ed25519.Ed25519PrivateKey.generate,
        Family.ED448: ed448.Ed448PrivateKey.generate,
        Family.ML_DSA_44: mldsa.MLDSA44PrivateKey.generate,
        Family.ML_DSA_65: mldsa.MLDSA65PrivateKey.generate,
        Family.ML_DSA_87: mldsa.MLDSA87PrivateKey.generate,
    }[family]()


def test_the_tables_name_each_thing_once() -> None:
    for table in (HASHES, MACS):
        assert len({rule.oid for rule in table.values()}) == len(table)
    plain = [rule.oid for rule in SIGNATURES.values() if not rule.pss]
    assert len(set(plain)) == len(plain)
    for mac in MACS.values():
        assert mac.hash in HASHES
    for rule in SIGNATURES.values():
        assert rule.cert_hash in HASHES
        assert rule.hash is None or rule.hash == rule.cert_hash


def test_sha_1_and_md5_and_dsa_are_legacy_everywhere() -> None:
    weak = {"md5", "sha1"}
    assert {rule.name for rule in HASHES.values() if rule.legacy} == weak
    assert {rule.name for rule in MACS.values() if rule.legacy} == {"hmac-sha1", "hmac-sha1-ietf"}
    for rule in SIGNATURES.values():
        assert rule.legacy == (rule.hash in weak or rule.family is Family.DSA)


def test_the_key_stores_schemes_are_all_known() -> None:
    assert {scheme.value for scheme in Scheme} <= SIGNATURES.keys()


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_algorithm_is_read_as_it_is_written(name: str) -> None:
    octets = algorithms.signature_identifier(SIGNATURES[name])
    der.check(octets)
    assert algorithms.signature_algorithm(octets) is SIGNATURES[name]


@pytest.mark.parametrize("name", ENCODINGS["signature_algorithms"])
def test_signature_algorithms_are_written_as_in_the_vectors(name: str) -> None:
    assert algorithms.signature_identifier(SIGNATURES[name]).hex() == ENCODINGS["signature_algorithms"][name]


@pytest.mark.parametrize("name", sorted(SIGNATURES.keys() - NO_LONGER_SIGNED_WITH))
def test_a_signature_verifies_with_its_key_and_data_only(name: str) -> None:
    rule = SIGNATURES[name]
    key = key_of(rule.family)
    public_key = algorithms.load_public_key(pki.spki(key))
    signature = sign(key, name, DATA)
    assert algorithms.verify(public_key, rule, signature, DATA)
    assert not algorithms.verify(public_key, rule, signature, DATA + b"!")
    assert not algorithms.verify(public_key, rule, signature[:-1] + bytes((signature[-1] ^ 1,)), DATA)
    assert not algorithms.verify(public_key, rule, b"", DATA)


@pytest.mark.parametrize("family", Family)
def test_a_key_of_another_kind_verifies_nothing(family: Family) -> None:
    public_key = key_of(family).public_key()
    for rule in SIGNATURES.values():
        assert not algorithms.verify(public_key, rule, bytes(64), DATA)
    for rule in SIGNATURES.values():
        assert not algorithms.verify(x25519.X25519PrivateKey.generate().public_key(), rule, bytes(64), DATA)


def test_a_signature_with_another_hash_does_not_verify() -> None:
    public_key = key_of(Family.EC).public_key()
    signature = sign(key_of(Family.EC), "ecdsa-sha384", DATA)
    assert not algorithms.verify(public_key, SIGNATURES["ecdsa-sha256"], signature, DATA)


@pytest.mark.parametrize("salt", [0, 20, 32, 222])
def test_a_pss_salt_may_have_any_length(salt: int) -> None:
    key = key_of(Family.RSA)
    signature = sign(key, "rsa-pss-sha256", DATA, salt)
    assert algorithms.verify(key.public_key(), SIGNATURES["rsa-pss-sha256"], signature, DATA)


@pytest.mark.parametrize(
    ("kind", "options", "name"),
    [
        ("rsa", ("-sha256",), "rsa-pkcs1-sha256"),
        ("rsa", ("-sha512", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:-2"), "rsa-pss-sha512"),
        ("ec", ("-sha256",), "ecdsa-sha256"),
        ("ec", ("-sha384",), "ecdsa-sha384"),
    ],
)
def test_signatures_by_openssl_verify(openssl_folder: Path, kind: str, options: tuple[str, ...], name: str) -> None:
    (openssl_folder / "data").write_bytes(DATA)
    signature = openssl.run("dgst", *options, "-sign", f"{kind}.key", "data", folder=openssl_folder)
    spki = openssl.run("pkey", "-in", f"{kind}.key", "-pubout", "-outform", "DER", folder=openssl_folder)
    assert algorithms.verify(algorithms.load_public_key(spki), SIGNATURES[name], signature, DATA)


def test_openssl_verifies_our_pss_parameters(openssl_folder: Path) -> None:
    """The certificate request is read with the parameters it names, salt length included."""
    from agent.cmp.names import name_from_text  # noqa: PLC0415
    from agent.cmp.possession import sign_pkcs10  # noqa: PLC0415

    for name in ("rsa-pss-sha256", "rsa-pss-sha384", "rsa-pss-sha512", "rsa-pss-sha224"):
        request = sign_pkcs10(name_from_text("CN=a"), None, KeyInMemory(key_of(Family.RSA), (name,)))
        openssl.run("req", "-verify", "-noout", "-inform", "DER", folder=openssl_folder, stdin=request)


def pss(**fields: bytes | int) -> bytes:
    value = schema.RsaPssParams()
    for name, content in fields.items():
        value[name] = content
    return build_algorithm("1.2.840.113549.1.1.10", by_schema.encode(value))


def contents(oid: str, parameters: bytes | None = None) -> bytes:
    return der.unwrap(build_algorithm(oid, parameters))


SHA1, SHA256, MGF1 = HASHES["sha1"].oid, HASHES["sha256"].oid, "1.2.840.113549.1.1.8"
GOOD_PSS: dict[str, bytes | int] = {
    "hashAlgorithm": contents(SHA256),
    "maskGenAlgorithm": contents(MGF1, build_algorithm(SHA256)),
    "saltLength": 64,
}


def test_pss_parameters_have_defaults() -> None:
    assert algorithms.signature_algorithm(pss()).name == "rsa-pss-sha1"
    assert algorithms.signature_algorithm(pss(trailerField=1)).name == "rsa-pss-sha1"
    assert algorithms.signature_algorithm(pss(**GOOD_PSS)).name == "rsa-pss-sha256"


@pytest.mark.parametrize(
    "octets",
    [
        build_algorithm("1.2.840.113549.1.1.10"),
        pss(**GOOD_PSS | {"maskGenAlgorithm": contents(MGF1, build_algorithm(SHA1))}),
        pss(**GOOD_PSS | {"maskGenAlgorithm": contents(MGF1)}),
        pss(**GOOD_PSS | {"maskGenAlgorithm": contents("1.2.3", build_algorithm(SHA256))}),
        pss(**GOOD_PSS | {"trailerField": 2}),
        pss(hashAlgorithm=contents(SHA256)),
        pss(hashAlgorithm=contents("1.2.3")),
        pss(hashAlgorithm=contents(HASHES["shake256"].oid)),
    ],
)
def test_pss_with_uncommon_parameters_is_refused(octets: bytes) -> None:
    with pytest.raises(ProtectionError):
        algorithms.signature_algorithm(octets)


@pytest.mark.parametrize("parameters", [None, NULL])
def test_parameters_may_be_absent_or_null(parameters: bytes | None) -> None:
    for hash_ in HASHES.values():
        assert algorithms.hash_algorithm(build_algorithm(hash_.oid, parameters)) is hash_
    for mac in MACS.values():
        assert algorithms.mac_algorithm(build_algorithm(mac.oid, parameters)) is mac
    rsa_rule = SIGNATURES["rsa-pkcs1-sha256"]
    assert algorithms.signature_algorithm(build_algorithm(rsa_rule.oid, parameters)) is rsa_rule


def test_other_parameters_and_unknown_algorithms_are_refused() -> None:
    for read, oid in (
        (algorithms.hash_algorithm, SHA256),
        (algorithms.mac_algorithm, MACS["hmac-sha256"].oid),
        (algorithms.signature_algorithm, SIGNATURES["ecdsa-sha256"].oid),
    ):
        for octets in (build_algorithm(oid, b"\x30\x00"), build_algorithm("1.2.3.4")):
            with pytest.raises(ProtectionError) as caught:
                read(octets)
            assert "not accepted here" in str(caught.value)
            assert caught.value.remedy


@given(strategies.oids, st.none() | strategies.values)
def test_an_algorithm_identifier_comes_back(oid: str, parameters: bytes | None) -> None:
    assert parse_algorithm(build_algorithm(oid, parameters)) == (oid, parameters)


@pytest.mark.parametrize("octets", ["", "0500", "3000", "30020500", "30030601", "300506012a05000500", "300306012a00"])
def test_what_is_no_algorithm_identifier_is_refused(octets: str) -> None:
    with pytest.raises(MalformedMessage):
        parse_algorithm(bytes.fromhex(octets))


def test_hashes_are_the_standard_ones() -> None:
    assert {name: hash_.digest(b"abc").hex()[:8] for name, hash_ in HASHES.items()} == {
        "md5": "90015098",
        "sha1": "a9993e36",
        "sha224": "23097d22",
        "sha256": "ba7816bf",
        "sha384": "cb00753f",
        "sha512": "ddaf35a1",
        "shake256": "48336660",
    }
    assert len(HASHES["shake256"].digest(b"")) == 64


@given(st.binary(max_size=120) | strategies.values)
def test_what_is_no_key_is_refused_in_our_words(octets: bytes) -> None:
    with pytest.raises(ProtectionError):
        algorithms.load_public_key(octets)


def test_a_key_signs_by_its_best_scheme_unless_told() -> None:
    signer = KeyInMemory(key_of(Family.RSA), ("rsa-pkcs1-sha384", "rsa-pss-sha256"))
    assert algorithms.scheme_of(signer).name == "rsa-pkcs1-sha384"
    assert algorithms.scheme_of(signer, "rsa-pss-sha256").name == "rsa-pss-sha256"


@pytest.mark.parametrize(
    ("schemes", "name"), [((), None), (("ecdh",), None), (("ecdsa-sha256",), "ecdsa-sha384"), (("new",), "new")]
)
def test_a_key_that_cannot_sign_so_is_our_own_error(schemes: tuple[str, ...], name: str | None) -> None:
    with pytest.raises(LocalError, match="cannot make signatures"):
        algorithms.scheme_of(KeyInMemory(None, schemes), name)
