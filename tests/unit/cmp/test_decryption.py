"""What is encrypted for us opens, and nothing else does: with real keys, and with OpenSSL on the other side."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import keywrap
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from agent.cmp import algorithms, cms, decryption, der
from agent.cmp.errors import CmpError, MalformedMessage, ProtectionError, ProtocolViolation
from agent.labca import enveloping
from agent.labca.enveloping import Recipe
from agent.labca.refusal import Refusal
from hsm.algorithms import KeyAlgorithm
from hsm.errors import KeyUnusable
from hsm.software import SoftwareKey
from tests.unit.cmp.decryptors import P256, RSA, X25519, key_of, pem_of
from tests.unit.cmp.mutations import grafted, scrambled
from tests.unit.cmp.pki import Holder, issue, usage

CONTENT = b"a certificate, or a number and a name"
ALL = (RSA, P256, KeyAlgorithm.EC_P384, KeyAlgorithm.EC_P521, X25519)
DIFFIE_HELLMAN = (P256, X25519)


def enveloped(algorithm: KeyAlgorithm, content: bytes = CONTENT, **recipe: Any) -> cms.EnvelopedData:
    return enveloping.envelop(content, key_of(algorithm).public_key, 0, Recipe(**recipe))


def opens(data: cms.EnvelopedData, algorithm: KeyAlgorithm, **options: Any) -> bytes:
    return decryption.open_enveloped(cms.encode(data), key_of(algorithm), **options)


def certified(algorithm: KeyAlgorithm, signer: Holder) -> Holder:
    """Return a certificate for the key, as programs want one of whoever they encrypt for."""
    private = load_pem_private_key(pem_of(algorithm), None)
    wanted = usage("key_encipherment" if algorithm is RSA else "key_agreement")
    return issue("CN=recipient", signer, key=private, key_usage=wanted)


def openssl(*arguments: str | Path, data: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *map(str, arguments)], input=data, check=True, capture_output=True).stdout


# --- every way to encrypt -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ALL)
def test_what_is_encrypted_for_a_key_opens_with_it(algorithm: KeyAlgorithm) -> None:
    assert opens(enveloped(algorithm), algorithm) == CONTENT


@pytest.mark.parametrize("hash_", [None, "sha1", "sha256", "sha384", "sha512"])
def test_each_padding_of_rsa_opens(hash_: str | None) -> None:
    assert opens(enveloped(RSA, oaep=hash_), RSA) == CONTENT


@pytest.mark.parametrize("size", [16, 24, 32])
@pytest.mark.parametrize("algorithm", [RSA, P256])
def test_each_size_of_aes_opens(algorithm: KeyAlgorithm, size: int) -> None:
    assert opens(enveloped(algorithm, key_size=size), algorithm) == CONTENT


@pytest.mark.parametrize("algorithm", DIFFIE_HELLMAN)
@pytest.mark.parametrize("hash_", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_each_hash_of_the_key_derivation_opens(algorithm: KeyAlgorithm, hash_: str) -> None:
    assert opens(enveloped(algorithm, derivation=hash_), algorithm) == CONTENT


@pytest.mark.parametrize("algorithm", DIFFIE_HELLMAN)
@pytest.mark.parametrize("hash_", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("ukm", [None, b"user keying material"])
def test_hkdf_opens(algorithm: KeyAlgorithm, hash_: str, ukm: bytes | None) -> None:
    assert opens(enveloped(algorithm, derivation=hash_, hkdf=True, ukm=ukm), algorithm) == CONTENT


@pytest.mark.parametrize("algorithm", DIFFIE_HELLMAN)
def test_user_keying_material_goes_into_the_key(algorithm: KeyAlgorithm) -> None:
    data = enveloped(algorithm, ukm=b"one")
    assert opens(data, algorithm) == CONTENT
    assert isinstance(data.recipient, cms.KeyAgreement)
    for other in (None, b"two"):
        with pytest.raises(ProtocolViolation):
            opens(replace(data, recipient=replace(data.recipient, ukm=other)), algorithm)


@pytest.mark.parametrize("content", [b"", b"x", b"x" * 15, b"x" * 16, b"x" * 5000])
def test_content_of_any_length_opens(content: bytes) -> None:
    assert opens(enveloped(P256, content), P256) == content


@pytest.mark.parametrize("parameters", [None, algorithms.NULL])
def test_a_sender_need_not_name_the_curve(parameters: bytes | None) -> None:
    data = enveloped(P256)
    assert isinstance(data.recipient, cms.KeyAgreement)
    bare = algorithms.build_algorithm("1.2.840.10045.2.1", parameters)
    assert opens(replace(data, recipient=replace(data.recipient, originator_algorithm=bare)), P256) == CONTENT


def test_cofactor_diffie_hellman_is_the_same_on_our_curves() -> None:
    data = enveloped(P256)
    assert isinstance(data.recipient, cms.KeyAgreement)
    _, wrap = algorithms.parse_algorithm(data.recipient.algorithm)
    cofactor = algorithms.build_algorithm("1.3.132.1.14.1", wrap)
    assert opens(replace(data, recipient=replace(data.recipient, algorithm=cofactor)), P256) == CONTENT


@pytest.mark.parametrize("recipe", [None, Recipe(oaep="sha256"), Recipe(key_size=32, oaep="sha1")])
def test_an_encrypted_value_of_old_opens(recipe: Recipe | None) -> None:
    value = enveloping.enclose(CONTENT, key_of(RSA).public_key, recipe)
    assert decryption.open_encrypted_key(cms.encode_encrypted_key(value), key_of(RSA)) == CONTENT


@pytest.mark.parametrize("algorithm", ALL)
def test_enveloped_data_as_encrypted_key_opens(algorithm: KeyAlgorithm) -> None:
    octets = cms.encode_encrypted_key(enveloped(algorithm))
    assert octets[0] == 0xA0
    assert decryption.open_encrypted_key(octets, key_of(algorithm)) == CONTENT


def test_a_ciphertext_without_any_structure_opens() -> None:
    assert (
        decryption.decrypt_directly(enveloping.encrypt_directly(CONTENT, key_of(RSA).public_key), key_of(RSA))
        == CONTENT
    )


@pytest.mark.parametrize("form", ["enveloped", "value"])
def test_triple_des_is_for_legacy_profiles_only(form: str) -> None:
    recipe = Recipe(triple_des=True, oaep=None)
    public = key_of(RSA).public_key
    data = (
        enveloping.envelop(CONTENT, public, 0, recipe)
        if form == "enveloped"
        else enveloping.enclose(CONTENT, public, recipe)
    )
    octets = cms.encode_encrypted_key(data)
    assert decryption.open_encrypted_key(octets, key_of(RSA), legacy=True) == CONTENT
    with pytest.raises(ProtectionError, match="des-ede3-cbc"):
        decryption.open_encrypted_key(octets, key_of(RSA))


# --- the second opinion ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signer() -> Holder:
    return issue("CN=signer", ca=True)


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (RSA, ()),
        (RSA, ("-keyopt", "rsa_padding_mode:oaep")),
        (RSA, ("-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256")),
        (P256, ()),
        (P256, ("-keyopt", "ecdh_kdf_md:sha256", "-aes256-wrap")),
        (P256, ("-keyopt", "ecdh_kdf_md:sha512", "-keyopt", "ecdh_cofactor_mode:1", "-aes128-wrap")),
        (KeyAlgorithm.EC_P384, ("-keyopt", "ecdh_kdf_md:sha384", "-aes256-wrap")),
        (KeyAlgorithm.EC_P521, ("-aes192-wrap",)),
    ],
    ids=str,
)
@pytest.mark.parametrize("cipher", ["-aes128", "-aes256"])
def test_what_openssl_encrypts_opens(
    signer: Holder, tmp_path: Path, algorithm: KeyAlgorithm, options: tuple[str, ...], cipher: str
) -> None:
    certificate = tmp_path / "recipient.pem"
    certificate.write_bytes(certified(algorithm, signer).certificate.public_bytes(Encoding.PEM))
    made = openssl(
        "cms", "-encrypt", "-binary", "-outform", "DER", cipher, "-recip", certificate, *options, data=CONTENT
    )
    _, content = der.values(made)
    assert decryption.open_enveloped(der.unwrap(content, 0xA0), key_of(algorithm)) == CONTENT


@pytest.mark.parametrize(
    ("algorithm", "recipe"),
    [
        (RSA, Recipe(oaep=None, key_size=16)),
        (RSA, Recipe(oaep="sha1")),
        (RSA, Recipe(oaep="sha256")),
        (P256, Recipe(derivation="sha1", key_size=16)),
        (P256, Recipe(ukm=b"user keying material")),
        (KeyAlgorithm.EC_P384, Recipe(derivation="sha384")),
        (KeyAlgorithm.EC_P521, Recipe(derivation="sha512", key_size=24)),
    ],
    ids=str,
)
def test_openssl_opens_what_we_encrypt(tmp_path: Path, algorithm: KeyAlgorithm, recipe: Recipe) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(pem_of(algorithm))
    data = enveloping.envelop(CONTENT, key_of(algorithm).public_key, 7, recipe)
    content_info = der.wrap(der.SEQUENCE, bytes.fromhex("06092a864886f70d010703"), der.wrap(0xA0, cms.encode(data)))
    # Nobody has a certificate with this number: -debug_decrypt makes OpenSSL say whether our key was the right one.
    opened = openssl("cms", "-decrypt", "-debug_decrypt", "-inform", "DER", "-binary", "-inkey", key, data=content_info)
    assert opened == CONTENT


def test_openssl_opens_what_we_encrypt_directly(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_bytes(pem_of(RSA))
    ciphertext = enveloping.encrypt_directly(CONTENT, key_of(RSA).public_key)
    assert openssl("pkeyutl", "-decrypt", "-inkey", key, data=ciphertext) == CONTENT


# --- what does not open ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [RSA, P256, X25519])
def test_another_key_of_the_same_kind_does_not_open_it(algorithm: KeyAlgorithm) -> None:
    for data in (enveloped(algorithm), enveloped(algorithm, oaep=None)):
        with pytest.raises(ProtocolViolation, match="does not open"):
            decryption.open_enveloped(cms.encode(data), key_of(algorithm, 1))


@pytest.mark.parametrize(("sealed", "key"), [(RSA, P256), (P256, RSA), (RSA, KeyAlgorithm.ED25519)])
def test_a_key_of_another_kind_does_not_open_it(sealed: KeyAlgorithm, key: KeyAlgorithm) -> None:
    with pytest.raises(ProtectionError):
        opens(enveloped(sealed), key)


@pytest.mark.parametrize(("sealed", "key"), [(P256, KeyAlgorithm.EC_P384), (P256, X25519), (X25519, P256)])
def test_a_key_on_another_curve_does_not_open_it(sealed: KeyAlgorithm, key: KeyAlgorithm) -> None:
    with pytest.raises(ProtocolViolation):
        opens(enveloped(sealed), key)


def _other_key_size(data: cms.EnvelopedData) -> cms.EnvelopedData:
    """Claim AES-128 where the content key has 32 octets."""
    _, vector = algorithms.parse_algorithm(data.algorithm)
    return replace(data, algorithm=algorithms.build_algorithm("2.16.840.1.101.3.4.1.2", vector))


def _short_vector(data: cms.EnvelopedData) -> cms.EnvelopedData:
    oid, _ = algorithms.parse_algorithm(data.algorithm)
    return replace(data, algorithm=algorithms.build_algorithm(oid, b"\x04\x08" + bytes(8)))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: replace(data, content=data.content[:-1] + bytes((data.content[-1] ^ 1,))),
        lambda data: replace(data, content=data.content[:-1]),
        lambda data: replace(data, content=b""),
        lambda data: replace(data, recipient=replace(data.recipient, encrypted_key=b"")),
        lambda data: replace(data, recipient=replace(data.recipient, encrypted_key=data.recipient.encrypted_key[:-8])),
        lambda data: replace(data, recipient=replace(data.recipient, encrypted_key=bytes(256))),
        _other_key_size,
        _short_vector,
    ],
)
@pytest.mark.parametrize("algorithm", [RSA, P256])
def test_every_damage_gives_the_same_error(
    algorithm: KeyAlgorithm, spoil: Callable[[cms.EnvelopedData], cms.EnvelopedData]
) -> None:
    for padding in (None, "sha256"):
        with pytest.raises(ProtocolViolation) as caught:
            opens(spoil(enveloped(algorithm, oaep=padding)), algorithm)
        assert str(caught.value) == str(decryption.unopened())


def test_a_forged_content_key_takes_the_way_of_a_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """PKCS#1 v1.5 padding that is wrong brings random octets: the content is decrypted all the same, and refused."""
    sealed_at_random = enveloped(RSA, b"x" * 100, oaep=None)
    monkeypatch.setattr("secrets.token_bytes", bytes)
    sealed = enveloped(RSA, CONTENT, oaep=None)
    assert opens(sealed, RSA) == CONTENT
    short = Shortened(key_of(RSA))
    for data in (sealed_at_random, sealed):
        with pytest.raises(ProtocolViolation, match="does not open"):
            decryption.open_enveloped(cms.encode(data), short)


class Shortened:
    """A key whose decryption brings a content key of the wrong size, as a wrong padding does."""

    def __init__(self, key: SoftwareKey) -> None:
        self.public_key, self.ciphers, self.agrees = key.public_key, key.ciphers, key.agrees

    def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        return bytes(7) if ciphertext and scheme else b""

    def agree(self, peer_public_key: bytes) -> bytes:
        return peer_public_key


class Gone(Shortened):
    """A key on a token that is not there any more."""

    def decrypt(self, *_: object) -> bytes:
        raise KeyUnusable("the token is gone", remedy="plug it in")

    def agree(self, *_: object) -> bytes:
        raise KeyUnusable("the token is gone", remedy="plug it in")


@pytest.mark.parametrize("algorithm", [RSA, P256])
def test_an_error_of_the_key_itself_passes_through(algorithm: KeyAlgorithm) -> None:
    with pytest.raises(KeyUnusable):
        decryption.open_enveloped(cms.encode(enveloped(algorithm)), Gone(key_of(algorithm)))


# --- algorithms and shapes that are not accepted --------------------------------------------------------------------


def with_transport(oid: str, parameters: bytes | None = None) -> bytes:
    data = enveloped(RSA)
    return cms.encode(
        replace(data, recipient=replace(data.recipient, algorithm=algorithms.build_algorithm(oid, parameters)))
    )


SHA256 = algorithms.build_algorithm("2.16.840.1.101.3.4.2.1")
SHA384 = algorithms.build_algorithm("2.16.840.1.101.3.4.2.2")
MD5 = algorithms.build_algorithm("1.2.840.113549.2.5")
OAEP = "1.2.840.113549.1.1.7"


def oaep(hash_: bytes, mask: bytes = b"", label: bytes = b"") -> bytes:
    return der.wrap(
        der.SEQUENCE,
        der.wrap(0xA0, hash_),
        der.wrap(0xA1, mask or algorithms.build_algorithm("1.2.840.113549.1.1.8", hash_)),
        der.wrap(0xA2, label) if label else b"",
    )


def test_an_empty_label_of_oaep_may_be_written_out() -> None:
    data = enveloped(RSA)
    written = algorithms.build_algorithm(OAEP, oaep(SHA256, label=bytes.fromhex("300d06092a864886f70d0101090400")))
    assert opens(replace(data, recipient=replace(data.recipient, algorithm=written)), RSA) == CONTENT


@pytest.mark.parametrize(
    ("oid", "parameters", "said"),
    [
        ("1.2.840.113549.1.1.1", SHA256, "key transport"),
        ("1.2.840.113549.1.9.16.3.14", None, "key transport"),
        (OAEP, oaep(SHA256, algorithms.build_algorithm("1.2.840.113549.1.1.8", SHA384)), "two different hashes"),
        (OAEP, oaep(SHA256, algorithms.build_algorithm("1.2.840.113549.1.1.9", SHA256)), "two different hashes"),
        (OAEP, oaep(SHA256, algorithms.build_algorithm("1.2.840.113549.1.1.8")), "two different hashes"),
        (OAEP, oaep(SHA256, label=algorithms.build_algorithm("1.2.840.113549.1.1.9", b"\x04\x01x")), "label"),
        (OAEP, oaep(MD5), "rsa-oaep-md5"),
        (OAEP, oaep(algorithms.build_algorithm("1.2.3")), "hash 1.2.3"),
    ],
)
def test_an_unknown_key_transport_is_refused(oid: str, parameters: bytes | None, said: str) -> None:
    with pytest.raises(ProtectionError, match=said):
        decryption.open_enveloped(with_transport(oid, parameters), key_of(RSA))


@pytest.mark.parametrize("parameters", [None, algorithms.NULL])
def test_oaep_without_parameters_means_its_defaults(parameters: bytes | None) -> None:
    data = enveloped(RSA, oaep="sha1")
    bare = algorithms.build_algorithm(OAEP, parameters)
    assert opens(replace(data, recipient=replace(data.recipient, algorithm=bare)), RSA) == CONTENT


@pytest.mark.parametrize(
    ("oid", "wrap", "said"),
    [
        ("1.2.840.113549.1.9.16.3.5", algorithms.build_algorithm("2.16.840.1.101.3.4.1.45"), "key agreement"),
        ("1.3.132.1.11.1", None, "key agreement"),
        ("1.3.132.1.11.1", algorithms.build_algorithm("1.2.840.113549.1.9.16.3.6"), "key wrap"),
        ("1.3.132.1.11.1", algorithms.build_algorithm("2.16.840.1.101.3.4.1.45", b"\x04\x00"), "key wrap"),
    ],
)
def test_an_unknown_key_agreement_is_refused(oid: str, wrap: bytes | None, said: str) -> None:
    data = enveloped(P256)
    other = replace(data.recipient, algorithm=algorithms.build_algorithm(oid, wrap))
    with pytest.raises(ProtectionError, match=said):
        opens(replace(data, recipient=other), P256)


@pytest.mark.parametrize("parameters", [None, b"\x04\x10" + bytes(16)])
def test_unknown_content_encryption_is_refused(parameters: bytes | None) -> None:
    oid = "2.16.840.1.101.3.4.1.42" if parameters is None else "2.16.840.1.101.3.4.1.46"
    with pytest.raises(ProtectionError, match="content encryption"):
        opens(replace(enveloped(P256), algorithm=algorithms.build_algorithm(oid, parameters)), P256)


def test_more_than_a_certificate_is_not_decrypted() -> None:
    with pytest.raises(MalformedMessage, match="cap"):
        opens(enveloped(P256, bytes(65_536)), P256)


def test_exactly_one_recipient_is_served() -> None:
    parts = der.values(cms.encode(enveloped(RSA)))
    (one,) = der.values(parts[1])
    for many in ((), (one, one), (der.wrap(0xA2, b"\x02\x01\x04"),)):
        octets = der.wrap(der.SEQUENCE, parts[0], der.wrap(der.SET, *many), *parts[2:])
        with pytest.raises(MalformedMessage, match="one recipient"):
            decryption.open_enveloped(octets, key_of(RSA))


def test_a_sender_who_names_his_certificate_only_is_refused() -> None:
    octets = cms.encode(enveloped(P256))
    named = octets.replace(b"\xa1\x59\x30\x13", b"\xa2\x59\x30\x13", 1)
    assert named != octets
    with pytest.raises(MalformedMessage):
        decryption.open_enveloped(named, key_of(P256))


def test_parts_that_we_do_not_need_are_passed_over() -> None:
    version, recipients, content = der.values(cms.encode(enveloped(RSA)))
    octets = der.wrap(
        der.SEQUENCE,
        version,
        der.wrap(0xA0, der.wrap(0xA0)),
        recipients,
        content,
        der.wrap(0xA1, der.wrap(der.SEQUENCE)),
    )
    assert decryption.open_enveloped(octets, key_of(RSA)) == CONTENT


def test_a_wrapped_key_is_what_the_standard_says() -> None:
    """RFC 5753 7.2, computed once more by hand."""
    data = enveloped(P256, key_size=16)
    assert isinstance(data.recipient, cms.KeyAgreement)
    assert len(data.recipient.encrypted_key) == 24
    info = cms.shared_info(algorithms.build_algorithm("2.16.840.1.101.3.4.1.5"), None, 16)
    assert info.hex() == "3015300b060960864801650304010 5a206040400000080".replace(" ", "")
    with pytest.raises(keywrap.InvalidUnwrap):
        keywrap.aes_key_unwrap(bytes(16), data.recipient.encrypted_key)


# --- the lab's side -------------------------------------------------------------------------------------------------


def test_the_lab_encrypts_nothing_to_a_key_that_signs_only() -> None:
    with pytest.raises(Refusal, match="sign with it"):
        enveloping.envelop(CONTENT, key_of(KeyAlgorithm.ED25519).public_key)


@pytest.mark.parametrize("encrypt", [enveloping.enclose, enveloping.encrypt_directly])
def test_the_old_forms_are_for_rsa_only(encrypt: Callable[[bytes, bytes], object]) -> None:
    with pytest.raises(Refusal, match="pvno 3"):
        encrypt(CONTENT, key_of(P256).public_key)


def test_a_content_too_long_for_one_block_is_refused() -> None:
    with pytest.raises(Refusal, match="pvno 3"):
        enveloping.encrypt_directly(bytes(300), key_of(RSA).public_key)


# --- anything at all ------------------------------------------------------------------------------------------------

SAMPLES = st.sampled_from(
    [
        (algorithm, cms.encode_encrypted_key(enveloped(algorithm, oaep=padding)))
        for algorithm in (RSA, P256, X25519)
        for padding in ("sha256", None)
    ]
    + [(RSA, cms.encode_encrypted_key(enveloping.enclose(CONTENT, key_of(RSA).public_key)))]
)


@given(SAMPLES.flatmap(lambda one: st.tuples(st.just(one[0]), grafted(st.just(one[1])) | scrambled(st.just(one[1])))))
def test_nothing_but_our_errors_comes_of_a_spoiled_ciphertext(sample: tuple[KeyAlgorithm, bytes]) -> None:
    algorithm, octets = sample
    with contextlib.suppress(CmpError):
        assert len(decryption.open_encrypted_key(octets, key_of(algorithm), legacy=True)) <= len(octets)


@given(st.binary(max_size=300))
def test_nothing_but_our_errors_comes_of_any_octets(octets: bytes) -> None:
    for algorithm in (RSA, P256):
        for open_ in (decryption.open_encrypted_key, decryption.open_enveloped):
            with pytest.raises(CmpError):
                open_(octets, key_of(algorithm))
    with contextlib.suppress(CmpError):  # PKCS#1 v1.5 brings random octets of whatever has the length of the modulus
        assert len(decryption.decrypt_directly(octets, key_of(RSA))) <= 256
