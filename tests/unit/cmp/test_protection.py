from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import rsa

from agent.cmp import algorithms, by_schema, der, protection, schema
from agent.cmp.algorithms import NULL, build_algorithm
from agent.cmp.bodies import CertReqMessages, CertRequest, CertTemplate, PkiConf
from agent.cmp.errors import LocalError, MalformedMessage, ProtectionError, WrongMac
from agent.cmp.messages import BodyType, Header, Message, build, parse
from agent.cmp.names import common_name, directory_name, name_from_text
from agent.cmp.possession import sign_request
from agent.cmp.protection import Kind, MacParameters, MacProtector, ProtectionRules, SignatureProtector
from tests.unit.cmp import openssl, pki
from tests.unit.cmp.signers import KeyInMemory

FOLDER = Path(__file__).parents[2] / "vectors"
VECTORS: list[dict[str, Any]] = json.loads((FOLDER / "mac.json").read_text())
SECRET, SALT = b"3gpp-secret", bytes(range(16))
PBM = MacParameters(iterations=100, salt=SALT)
PBMAC1 = replace(PBM, algorithm="pbmac1")
RULES = ProtectionRules()
LEGACY = ProtectionRules(legacy=True)
ONE_WAY_FUNCTIONS = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"]


def protected(protector: protection.Protector, **header: Any) -> Message:
    return parse(build(Header(protection_alg=protector.algorithm, **header), PkiConf(), protect=protector.protect))


def by_hand(algorithm: bytes, made: bytes | Callable[[bytes], bytes] = b"made") -> Message:
    protect = made if callable(made) else lambda _: made
    return parse(build(Header(protection_alg=algorithm), PkiConf(), protect=protect))


def parameters_of(vector: dict[str, Any]) -> MacParameters:
    return MacParameters(
        algorithm=vector["algorithm"],
        one_way_function=vector["one_way_function"],
        mac=vector["mac"],
        iterations=vector["iterations"],
        salt=bytes.fromhex(vector["salt"]),
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_macs_are_made_as_in_the_vectors(vector: dict[str, Any], openssl_folder: Path) -> None:
    protector = MacProtector(vector["secret"].encode(), parameters_of(vector))
    assert protector.algorithm.hex() == vector["identifier"]
    data = bytes.fromhex(vector["data"])
    assert protector.protect(data).hex() == vector["code"]
    (openssl_folder / "data").write_bytes(data)
    code = openssl.run(
        "mac", "-digest", "SHA256", "-macopt", f"hexkey:{vector['key']}", "-in", "data", "HMAC", folder=openssl_folder
    )
    assert code.decode().strip().lower() == vector["code"]


def test_the_key_of_the_pbmac1_vector_is_openssls(openssl_folder: Path) -> None:
    vector = VECTORS[1]
    key = openssl.run(
        "kdf", "-keylen", "32", "-kdfopt", "digest:SHA2-256", "-kdfopt", f"pass:{vector['secret']}",
        "-kdfopt", f"hexsalt:{vector['salt']}", "-kdfopt", f"iter:{vector['iterations']}", "PBKDF2",
        folder=openssl_folder,
    )  # fmt: skip
    assert key.decode().replace(":", "").strip().lower() == vector["key"]


def test_the_key_of_the_pbm_vector_is_the_iterated_hash() -> None:
    vector = VECTORS[0]
    salt = bytes.fromhex(vector["salt"])
    assert protection.derive_pbm_key(SECRET, salt, "sha256", 1000).hex() == vector["key"]
    assert protection.derive_pbm_key(SECRET, salt, "sha256", 1) == hashlib.sha256(SECRET + salt).digest()


@pytest.mark.parametrize("file", sorted((FOLDER / "openssl").glob("mac-*.der")), ids=lambda file: file.stem)
def test_macs_by_openssl_verify(file: Path) -> None:
    message = parse(file.read_bytes())
    assert protection.kind_of(message) is Kind.MAC
    protection.verify_mac(message, openssl.SECRET.encode(), RULES)
    with pytest.raises(WrongMac, match="same secret"):
        protection.verify_mac(message, openssl.SECRET.encode() + b" ", RULES)


@pytest.mark.parametrize(
    "file", sorted((FOLDER / "openssl").glob("signed-*-response*.der")), ids=lambda file: file.stem
)
def test_signatures_by_openssl_verify(file: Path) -> None:
    message = parse(file.read_bytes())
    assert protection.kind_of(message) is Kind.SIGNATURE
    issuer = x509.load_der_x509_certificate((FOLDER / "openssl" / "issuer.der").read_bytes())
    key: Any = issuer.public_key()
    assert protection.verify_signature(message, key, RULES).name == "ecdsa-sha256"
    with pytest.raises(ProtectionError, match="signature of the message is wrong"):
        protection.verify_signature(message, pki.new_key().public_key(), RULES)


def request_of_ours(protector: protection.Protector) -> bytes:
    """Return an ir that the mock server of openssl answers if it can verify it."""
    key = pki.new_key()
    signer = KeyInMemory(key)
    body = CertReqMessages(
        BodyType.IR,
        (
            sign_request(
                CertRequest(
                    template=CertTemplate(subject=name_from_text("CN=a,O=Operator"), public_key=signer.public_key)
                ),
                signer,
            ),
        ),
    )
    header = Header(
        sender=directory_name(common_name(openssl.REFERENCE)),
        sender_kid=openssl.REFERENCE.encode(),
        protection_alg=protector.algorithm,
        transaction_id=bytes(16),
        sender_nonce=bytes(16),
    )
    return build(header, body, protect=protector.protect)


@pytest.mark.parametrize(
    "mac", ["hmac-sha1", "hmac-sha1-ietf", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"]
)
@pytest.mark.parametrize("one_way_function", ONE_WAY_FUNCTIONS)
def test_openssl_verifies_our_password_based_mac(openssl_folder: Path, one_way_function: str, mac: str) -> None:
    protector = MacProtector(SECRET, replace(PBM, one_way_function=one_way_function, mac=mac))
    answer = parse(openssl.answer(openssl_folder, request_of_ours(protector)))
    assert answer.type is BodyType.IP
    protection.verify_mac(answer, SECRET, RULES)


def test_openssl_refuses_our_mac_with_another_secret(openssl_folder: Path) -> None:
    wrong = request_of_ours(MacProtector(b"another secret", PBM))
    assert parse(openssl.answer(openssl_folder, wrong)).type is BodyType.ERROR


@pytest.mark.parametrize("mac", algorithms.MACS)
@pytest.mark.parametrize("one_way_function", ONE_WAY_FUNCTIONS)
@pytest.mark.parametrize("algorithm", ["pbm", "pbmac1"])
def test_what_we_protect_we_verify(algorithm: str, one_way_function: str, mac: str) -> None:
    parameters = MacParameters(
        algorithm=algorithm, one_way_function=one_way_function, mac=mac, iterations=100, salt=SALT
    )
    if algorithm == "pbmac1" and one_way_function == "md5":
        with pytest.raises(LocalError, match="cannot be made with pbmac1, md5"):
            MacProtector(SECRET, parameters)
        return
    message = protected(MacProtector(SECRET, parameters))
    protection.verify_mac(message, SECRET, LEGACY)
    for changed in (
        replace(message, protection=b""),
        replace(message, protection=None),
        replace(message, protection=(message.protection or b"")[:-1]),
        replace(message, protected_part=message.protected_part + b"\x00"),
    ):
        with pytest.raises(WrongMac):
            protection.verify_mac(changed, SECRET, LEGACY)


def test_the_key_is_derived_once_a_transaction(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[bytes] = []
    derive = protection.derive_pbm_key

    def counted(*arguments: Any) -> bytes:
        derived.append(arguments[0])
        return derive(*arguments)

    monkeypatch.setattr(protection, "derive_pbm_key", counted)
    protector = MacProtector(SECRET, PBM)
    assert protector.protect(b"1") != protector.protect(b"2")
    assert derived == [SECRET]


def test_the_secret_is_in_no_repr() -> None:
    for parameters in (PBM, PBMAC1):
        protector = MacProtector(SECRET, parameters)
        protector.protect(b"")
        assert "3gpp" not in repr(protector)
        assert "iterations=100" in str(protector)


@pytest.mark.parametrize(
    "parameters",
    [
        replace(PBM, salt=b"short"),
        replace(PBM, iterations=0),
        replace(PBM, algorithm="hmac"),
        replace(PBM, one_way_function="shake256"),
        replace(PBM, one_way_function="sha3"),
        replace(PBM, mac="gmac"),
    ],
)
def test_a_mac_that_nobody_should_make_is_our_own_error(parameters: MacParameters) -> None:
    with pytest.raises(LocalError) as caught:
        MacProtector(SECRET, parameters)
    assert "mac" in caught.value.remedy


def test_an_empty_secret_is_our_own_error() -> None:
    with pytest.raises(LocalError, match="secret is empty"):
        MacProtector(b"", PBM)


# --- what a peer may ask of us ----------------------------------------------------------------------------------------


def pbm(salt: bytes = SALT, owf: bytes | None = None, iterations: int = 100, mac: bytes | None = None) -> bytes:
    value = schema.PBMParameter()
    value["salt"] = salt
    value["owf"] = der.unwrap(owf or build_algorithm(algorithms.HASHES["sha256"].oid))
    value["iterationCount"] = iterations
    value["mac"] = der.unwrap(mac or build_algorithm(algorithms.MACS["hmac-sha256"].oid))
    return build_algorithm(protection.PASSWORD_BASED_MAC, by_schema.encode(value))


def pbmac1(
    salt: bytes = SALT,
    iterations: int = 100,
    length: int | None = 32,
    prf: bytes | None = None,
    kdf: str = protection.PBKDF2,
    mac: bytes | None = None,
) -> bytes:
    derivation = schema.Pbkdf2Params()
    derivation["salt"] = salt
    derivation["iterationCount"] = iterations
    if length is not None:
        derivation["keyLength"] = length
    if prf is not None:
        derivation["prf"] = der.unwrap(prf)
    value = schema.Pbmac1Params()
    value["keyDerivationFunc"] = der.unwrap(build_algorithm(kdf, by_schema.encode(derivation)))
    value["messageAuthScheme"] = der.unwrap(mac or build_algorithm(algorithms.MACS["hmac-sha256"].oid))
    return build_algorithm(protection.PBMAC1, by_schema.encode(value))


HMAC_SHA1 = build_algorithm(algorithms.MACS["hmac-sha1"].oid, NULL)
HMAC_SHA256 = build_algorithm(algorithms.MACS["hmac-sha256"].oid, NULL)


@pytest.mark.parametrize(
    "algorithm",
    [
        pbm(iterations=99),
        pbm(iterations=0),
        pbm(iterations=-1),
        pbm(iterations=1_000_001),
        pbm(iterations=2**62),
        pbm(salt=bytes(257)),
        pbmac1(iterations=99),
        pbmac1(iterations=1_000_001),
        pbmac1(salt=bytes(257)),
        pbmac1(length=15),
        pbmac1(length=0),
        pbmac1(length=-32),
        pbmac1(length=4097),
        pbmac1(length=2**62),
        pbmac1(iterations=1_000_000, length=4095),
        build_algorithm(protection.PASSWORD_BASED_MAC),
        build_algorithm(protection.PBMAC1),
        build_algorithm("1.2.3.4", b"\x30\x00"),
        HMAC_SHA256,
        pbm(owf=build_algorithm("1.2.3")),
        pbm(owf=build_algorithm(algorithms.HASHES["shake256"].oid)),
        pbm(mac=build_algorithm("1.2.3")),
        pbm(mac=build_algorithm("2.16.840.1.101.3.4.1.9", b"\x30\x00")),
        pbmac1(kdf="1.2.3"),
        pbmac1(prf=build_algorithm("1.2.3")),
        pbmac1(mac=build_algorithm("1.2.3")),
    ],
)
def test_costly_or_unknown_parameters_are_refused_before_anything_is_hashed(
    algorithm: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> bytes:
        raise AssertionError("a key was derived")

    monkeypatch.setattr(protection, "derive_pbm_key", never)
    monkeypatch.setattr(hashlib, "pbkdf2_hmac", never)
    with pytest.raises(ProtectionError) as caught:
        protection.verify_mac(by_hand(algorithm), SECRET, LEGACY)
    assert not isinstance(caught.value, WrongMac)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "parameters", [b"\x05\x00", b"\x30\x00", der.wrap(der.SEQUENCE, b"\x04\x00", b"\x30\x00", b"\x02\x01\x00")]
)
@pytest.mark.parametrize("oid", [protection.PASSWORD_BASED_MAC, protection.PBMAC1])
def test_parameters_of_another_shape_are_refused(oid: str, parameters: bytes) -> None:
    with pytest.raises(MalformedMessage):
        protection.verify_mac(by_hand(build_algorithm(oid, parameters)), SECRET, RULES)


def test_the_most_that_is_allowed_takes_seconds_at_most() -> None:
    """One in a hundred of the allowed work, on a machine that may be busy."""
    work = replace(RULES, maximum_work=RULES.maximum_work // 100)
    algorithm = pbmac1(iterations=work.maximum_work // 128, length=4096, prf=HMAC_SHA256)
    started = time.process_time()
    with pytest.raises(WrongMac):
        protection.verify_mac(by_hand(algorithm), SECRET, work)
    assert time.process_time() - started < 1


@pytest.mark.parametrize("name", ["md5", "sha1"])
def test_an_old_one_way_function_needs_a_legacy_profile(name: str) -> None:
    message = protected(MacProtector(SECRET, replace(PBM, one_way_function=name)))
    protection.verify_mac(message, SECRET, LEGACY)
    with pytest.raises(ProtectionError, match=f"PasswordBasedMac with {name}"):
        protection.verify_mac(message, SECRET, RULES)


@pytest.mark.parametrize(
    "parameters",
    [
        replace(PBM, mac="hmac-sha1"),
        replace(PBM, mac="hmac-sha1-ietf"),
        replace(PBMAC1, mac="hmac-sha1"),
        replace(PBMAC1, one_way_function="sha1"),
    ],
)
def test_hmac_sha1_can_be_switched_off(parameters: MacParameters) -> None:
    message = protected(MacProtector(SECRET, parameters))
    protection.verify_mac(message, SECRET, RULES)
    with pytest.raises(ProtectionError, match="hmac-sha1"):
        protection.verify_mac(message, SECRET, ProtectionRules(legacy_mac=False))


def pbmac1_code(length: int, prf: str = "sha1", iterations: int = 100) -> Callable[[bytes], bytes]:
    key = hashlib.pbkdf2_hmac(prf, SECRET, SALT, iterations, length)
    return lambda data: hmac.digest(key, data, "sha256")


@pytest.mark.parametrize(
    ("algorithm", "made"),
    [
        (pbmac1(), pbmac1_code(32)),
        (pbmac1(length=None), pbmac1_code(32)),
        (pbmac1(length=16), pbmac1_code(16)),
        (pbmac1(length=4096), pbmac1_code(4096)),
        (pbmac1(prf=HMAC_SHA1), pbmac1_code(32)),
        (pbmac1(prf=HMAC_SHA256), pbmac1_code(32, "sha256")),
        (pbmac1(kdf="1.2.840.113549.1.5.13"), pbmac1_code(32)),
        (pbmac1(length=256), pbmac1_code(32)),
        (pbmac1(length=4096), pbmac1_code(512)),
        (pbmac1(length=8 * 4096), pbmac1_code(4096)),
    ],
    ids=[
        "as the RFC says", "no length: that of the MAC", "short", "a server's default", "default PRF written out",
        "another PRF", "the OID of PBES2", "length in bits", "a server's default in bits", "long, in bits",
    ],
)  # fmt: skip
def test_pbmac1_of_servers_in_the_field_verifies(algorithm: bytes, made: Callable[[bytes], bytes]) -> None:
    message = by_hand(algorithm, made)
    protection.verify_mac(message, SECRET, RULES)
    with pytest.raises(WrongMac):
        protection.verify_mac(message, SECRET + b"!", RULES)


def test_a_mac_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library verifies it compares so; nothing of ours compares octets of a MAC."""
    compared: list[bytes] = []

    class Hmac:
        """What is verified, and nothing else: a MAC that is not made cannot be compared by us."""

        def __init__(self, key: bytes, algorithm: object) -> None:
            assert key
            assert algorithm

        def update(self, data: bytes) -> None:
            assert data

        def verify(self, signature: bytes) -> None:
            compared.append(signature)
            raise InvalidSignature

    monkeypatch.setattr(protection, "HMAC", Hmac)
    for algorithm in (pbm(), pbmac1()):
        with pytest.raises(WrongMac):
            protection.verify_mac(by_hand(algorithm), SECRET, RULES)
    assert compared == [b"made"] * 2


# --- kinds and signatures ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "oid",
    [
        protection.PASSWORD_BASED_MAC, protection.PBMAC1, "1.2.840.113533.7.66.30", "1.2.840.113533.7.66.16",
        "2.16.840.1.101.3.4.1.9", "2.16.840.1.101.3.4.2.20", *algorithms.MAC_BY_OID,
    ],
)  # fmt: skip
def test_every_mac_is_known_as_one(oid: str) -> None:
    assert protection.kind_of(by_hand(build_algorithm(oid))) is Kind.MAC


def test_what_is_no_mac_counts_as_a_signature() -> None:
    for rule in algorithms.SIGNATURES.values():
        assert protection.kind_of(by_hand(algorithms.signature_identifier(rule))) is Kind.SIGNATURE
    assert protection.kind_of(by_hand(build_algorithm("1.2.3"))) is Kind.SIGNATURE


def test_an_unprotected_message_has_no_kind() -> None:
    assert protection.kind_of(parse(build(Header(), PkiConf()))) is None


def test_algorithm_and_protection_come_together_or_not_at_all() -> None:
    without_algorithm = parse(build(Header(), PkiConf(), protect=lambda _: b""))
    without_protection = parse(build(Header(protection_alg=pbm()), PkiConf()))
    for message in (without_algorithm, without_protection):
        with pytest.raises(ProtectionError, match="without protection"):
            protection.kind_of(message)


def test_a_damaged_algorithm_is_refused() -> None:
    with pytest.raises(MalformedMessage):
        protection.kind_of(by_hand(der.wrap(der.SEQUENCE, b"\x05\x00")))


def test_a_signature_is_made_with_the_keys_best_algorithm() -> None:
    key = rsa.generate_private_key(65537, 2048)
    signer = KeyInMemory(key, ("rsa-pss-sha256", "rsa-pkcs1-sha256"))
    for scheme, expected in ((None, "rsa-pss-sha256"), ("rsa-pkcs1-sha256", "rsa-pkcs1-sha256")):
        message = protected(SignatureProtector(signer, scheme))
        assert protection.verify_signature(message, key.public_key(), RULES).name == expected
    with pytest.raises(LocalError):
        SignatureProtector(signer, "ecdsa-sha256")


def test_an_old_signature_needs_a_legacy_profile() -> None:
    key = rsa.generate_private_key(65537, 2048)
    message = protected(SignatureProtector(KeyInMemory(key, ("rsa-pkcs1-sha1",))))
    assert protection.verify_signature(message, key.public_key(), LEGACY).legacy
    with pytest.raises(ProtectionError, match="rsa-pkcs1-sha1") as caught:
        protection.verify_signature(message, key.public_key(), RULES)
    assert "backhaul" in caught.value.remedy


def test_a_mac_is_no_signature_and_the_reverse() -> None:
    with pytest.raises(ProtectionError, match="not accepted here"):
        protection.verify_signature(by_hand(pbm()), pki.new_key().public_key(), LEGACY)
    with pytest.raises(ProtectionError, match="MAC protection"):
        protection.verify_mac(
            by_hand(algorithms.signature_identifier(algorithms.SIGNATURES["ecdsa-sha256"])), SECRET, RULES
        )
