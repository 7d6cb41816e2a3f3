"""tests/vectors/messages.json, held against this code and against the openssl command."""

from __future__ import annotations

import hashlib
import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from agent.cmp import algorithms, asn1, by_schema, der, protection, schema
from agent.cmp.bodies import CertReqMessages, Pkcs10, PopSignature
from agent.cmp.errors import ProtectionError
from agent.cmp.messages import BodyType, Message, build, parse
from agent.cmp.protection import ProtectionRules
from tests.unit.cmp import openssl
from tests.vectors import make

VECTORS: list[dict[str, Any]] = json.loads(make.FILE.read_text())
SIGNED = [one for one in VECTORS if "public_key" in one]
EVERY = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
RULES = ProtectionRules()
OF_OTHERS = {"krr", "krp", "ccr", "ccp", "ckuann", "cann", "rann", "crlann", "nested"}
"""Bodies that an end entity neither sends nor takes."""


def message_of(vector: dict[str, Any]) -> Message:
    return parse(bytes.fromhex(vector["message"]))


def test_every_body_and_every_signature_is_there() -> None:
    assert {one["body"] for one in VECTORS} == {kind.label for kind in BodyType} - OF_OTHERS
    assert {one["protection"] for one in VECTORS} >= {"PasswordBasedMac", "PBMAC1", "ml-dsa-65", "rsa-pss-sha256"}
    assert len({one["name"] for one in VECTORS}) == len(VECTORS)


def test_the_vectors_are_made_anew_as_they_are() -> None:
    for made, vector in zip(make.vectors(), VECTORS, strict=True):
        if vector["reproducible"]:
            assert made == vector, "write it anew: python -m tests.vectors.make"
        else:
            assert made | {"message": ""} == vector | {"message": ""}
            assert len(made["message"]) == len(vector["message"])


@EVERY
def test_a_message_is_written_as_it_was_read(vector: dict[str, Any]) -> None:
    message = message_of(vector)
    again = build(message.header, message.body(), protect=lambda _: message.protection or b"")
    assert again.hex() == vector["message"]


@EVERY
def test_its_protection_verifies_and_covers_every_octet(vector: dict[str, Any]) -> None:
    def verify(message: Message) -> None:
        if "secret" in vector:
            protection.verify_mac(message, vector["secret"].encode(), RULES)
        else:
            key: Any = load_der_public_key(bytes.fromhex(vector["public_key"]))
            assert protection.verify_signature(message, key, RULES).name == vector["protection"]

    verify(message_of(vector))
    octets = bytearray.fromhex(vector["message"])
    at = octets.index(bytes(range(16)), octets.index(b"enb-4711"))  # transactionID
    octets[at] ^= 1
    with pytest.raises(ProtectionError):
        verify(parse(bytes(octets)))


@EVERY
def test_openssl_reads_its_structure(vector: dict[str, Any], openssl_folder: Path) -> None:
    octets = bytes.fromhex(vector["message"])
    said = openssl.run("asn1parse", "-inform", "DER", folder=openssl_folder, stdin=octets).decode()
    header = der.children(octets)[0]
    assert f"l={header.end - header.contents:4} cons: SEQUENCE" in said
    assert f"cont [ {BodyType[vector['body'].upper()].value} ]" in said


@pytest.mark.parametrize("vector", [one for one in VECTORS if "secret" in one], ids=lambda vector: vector["name"])
def test_openssl_makes_the_same_mac(vector: dict[str, Any], openssl_folder: Path) -> None:
    message = message_of(vector)
    key = {"PasswordBasedMac": pbm_key, "PBMAC1": pbmac1_key}[vector["protection"]](message, vector, openssl_folder)
    (openssl_folder / "part").write_bytes(message.protected_part)
    said = openssl.run(
        *("mac", "-digest", "SHA256", "-macopt", f"hexkey:{key.hex()}", "-in", "part", "HMAC"), folder=openssl_folder
    )
    assert bytes.fromhex(said.decode().strip()) == message.protection


def pbm_key(message: Message, vector: dict[str, Any], folder: Path) -> bytes:
    del folder  # openssl has no command for it
    value = by_schema.decode(parameters_of(message), schema.PBMParameter())
    key: bytes = vector["secret"].encode() + bytes(value["salt"])
    for _ in range(int(value["iterationCount"])):
        key = hashlib.sha256(key).digest()
    return key


def pbmac1_key(message: Message, vector: dict[str, Any], folder: Path) -> bytes:
    value = by_schema.decode(parameters_of(message), schema.Pbmac1Params())
    _, derivation = algorithms.parse_algorithm(asn1.required(value["keyDerivationFunc"]))
    kdf = by_schema.decode(derivation or b"", schema.Pbkdf2Params())
    options = (f"pass:{vector['secret']}", f"hexsalt:{bytes(kdf['salt']).hex()}", f"iter:{int(kdf['iterationCount'])}")
    said = openssl.run(
        *("kdf", "-keylen", "32", "-kdfopt", "digest:SHA2-256", *(x for one in options for x in ("-kdfopt", one))),
        "PBKDF2",
        folder=folder,
    )
    return bytes.fromhex(said.decode().replace(":", ""))


def parameters_of(message: Message) -> bytes:
    _, parameters = algorithms.parse_algorithm(message.header.protection_alg or b"")
    assert parameters is not None
    return parameters


@pytest.mark.parametrize("vector", SIGNED, ids=lambda vector: vector["name"])
def test_openssl_verifies_signature_and_proof_of_possession(vector: dict[str, Any], openssl_folder: Path) -> None:
    message = message_of(vector)
    body = message.body()
    assert isinstance(body, CertReqMessages)
    proof = body.requests[0].possession
    assert isinstance(proof, PopSignature)
    assert verified(vector, message.protected_part, message.protection or b"", openssl_folder)
    assert verified(vector, body.requests[0].request_octets, proof.signature, openssl_folder)
    assert not verified(vector, message.protected_part + b"!", message.protection or b"", openssl_folder)


def verified(vector: dict[str, Any], data: bytes, signature: bytes, folder: Path) -> bool:
    """Ask openssl; where it is too old for ML-DSA, ask the newer one inside of ``cryptography``."""
    public: Any = load_der_public_key(bytes.fromhex(vector["public_key"]))
    scheme = vector["protection"]
    if scheme.startswith("ml-dsa") and not knows_ml_dsa():
        return algorithms.verify(public, algorithms.SIGNATURES[scheme], signature, data)
    (folder / "data").write_bytes(data)
    (folder / "signature").write_bytes(signature)
    (folder / "key").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    hash_ = algorithms.SIGNATURES[scheme].hash
    digest = ("-digest", hash_) if hash_ and not scheme.startswith(("ed", "ml")) else ()
    pss = ("-pkeyopt", "rsa_padding_mode:pss") if scheme.startswith("rsa-pss") else ()
    command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "key", "-in", "data"]
    done = subprocess.run(
        [*command, "-sigfile", "signature", *digest, *pss], cwd=folder, capture_output=True, check=False, timeout=30
    )
    return done.returncode == 0


@cache
def knows_ml_dsa() -> bool:
    said = subprocess.run(
        ["openssl", "list", "-signature-algorithms"], capture_output=True, text=True, check=True, timeout=30
    )
    return "ML-DSA" in said.stdout


def test_openssl_verifies_the_pkcs10_request(openssl_folder: Path) -> None:
    (vector,) = (one for one in VECTORS if one["body"] == "p10cr")
    body = message_of(vector).body()
    assert isinstance(body, Pkcs10)
    said = openssl.run(
        *("req", "-inform", "DER", "-verify", "-noout", "-text"), folder=openssl_folder, stdin=body.request
    )
    assert b"DNS:enb-4711.ran.operator.example" in said
