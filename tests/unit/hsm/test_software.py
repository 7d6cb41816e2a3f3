"""Software keys, with the ``openssl`` program as the one who made other keys and who verifies our signatures."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
import traceback
from base64 import encodebytes
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.exceptions import UnsupportedAlgorithm as NotSupported
from cryptography.hazmat.primitives import asymmetric, serialization
from cryptography.hazmat.primitives.asymmetric import mldsa, rsa

from hsm.algorithms import CIPHERS, KEY_PARAMETERS, SCHEMES, Cipher, Family, KeyAlgorithm, Padding, Scheme
from hsm.errors import (
    KeyExists,
    KeyNotFound,
    KeyPermissions,
    KeyStoreError,
    KeyUnusable,
    PeerDataUnusable,
    UnsupportedAlgorithm,
)
from hsm.keyfile import reference_of
from hsm.software import SoftwareKey, SoftwareKeyStore

DATA = b"a PKIMessage's header and body"
ML_DSA = (KeyAlgorithm.ML_DSA_44, KeyAlgorithm.ML_DSA_65, KeyAlgorithm.ML_DSA_87)
"""What OpenSSL 3.0 does not know; cryptography judges these itself."""


def openssl(*arguments: str | Path, data: bytes = b"") -> bytes:
    command = ["openssl", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, capture_output=True, timeout=60).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[KeyAlgorithm, SoftwareKey]:
    """One key of each algorithm; making RSA keys takes a while."""
    directory = tmp_path_factory.mktemp("keys")
    store = SoftwareKeyStore(directory)
    return {algorithm: store.generate(algorithm, directory / f"{algorithm}.pem") for algorithm in KeyAlgorithm}


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    """The directory of our keys."""
    directory = tmp_path / "ours"
    directory.mkdir()
    return directory


@pytest.fixture
def store(ours: Path) -> SoftwareKeyStore:
    return SoftwareKeyStore(ours)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Where the operator keeps a key made elsewhere."""
    return tmp_path / "factory.key"


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def found(store: SoftwareKeyStore, path: Path, content: bytes | None = None) -> SoftwareKey:
    if content is not None:
        path.write_bytes(content)
    path.chmod(0o600)
    return store.find(reference_of(path))


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_new_key_is_a_private_pkcs8_file_that_openssl_reads(
    keys: dict[KeyAlgorithm, SoftwareKey], algorithm: KeyAlgorithm
) -> None:
    key = keys[algorithm]
    path = Path(key.reference.removeprefix("file://"))
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----\n")
    assert path.stat().st_mode & 0o777 == 0o600
    if algorithm not in ML_DSA:
        assert openssl("pkey", "-in", path, "-pubout", "-outform", "DER") == key.public_key


@pytest.mark.parametrize("algorithm", KeyAlgorithm)
def test_a_new_key_is_what_was_asked_for_and_can_do_what_its_row_says(
    keys: dict[KeyAlgorithm, SoftwareKey], algorithm: KeyAlgorithm
) -> None:
    key, rule = keys[algorithm], KEY_PARAMETERS[algorithm]
    assert (key.algorithm, key.legacy) == (algorithm, rule.legacy)
    assert (key.schemes, key.ciphers, key.agrees) == (rule.schemes, rule.ciphers, rule.agrees)


@pytest.mark.parametrize("algorithm", [name for name, rule in KEY_PARAMETERS.items() if rule.family is Family.RSA])
def test_rsa_keys_have_the_size_asked_for_and_the_usual_exponent(
    keys: dict[KeyAlgorithm, SoftwareKey], algorithm: KeyAlgorithm
) -> None:
    public = serialization.load_der_public_key(keys[algorithm].public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.public_numbers().e == 65_537
    assert f"rsa-{public.key_size}" == algorithm


@pytest.mark.parametrize(
    ("algorithm", "scheme"),
    [
        (algorithm, scheme)
        for algorithm, rule in KEY_PARAMETERS.items()
        for scheme in rule.schemes
        if algorithm not in ML_DSA
    ],
)
def test_openssl_verifies_every_signature(
    keys: dict[KeyAlgorithm, SoftwareKey], algorithm: KeyAlgorithm, scheme: Scheme, tmp_path: Path
) -> None:
    key, rule = keys[algorithm], SCHEMES[scheme]
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "signature").write_bytes(key.sign(DATA, scheme))
    (tmp_path / "public").write_bytes(key.public_key)
    options = ["-rawin"] if rule.digest is None else ["-rawin", "-digest", rule.digest]
    if rule.padding is Padding.PSS:
        options += ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]
    said = openssl(
        "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", tmp_path / "public",
        "-in", tmp_path / "data", "-sigfile", tmp_path / "signature", *options,
    )  # fmt: skip
    assert b"Verified Successfully" in said


@pytest.mark.parametrize("algorithm", ML_DSA)
def test_a_signature_with_ml_dsa_is_pure_and_without_context(
    keys: dict[KeyAlgorithm, SoftwareKey], algorithm: KeyAlgorithm
) -> None:
    key = keys[algorithm]
    public = serialization.load_der_public_key(key.public_key)
    assert isinstance(public, mldsa.MLDSA44PublicKey | mldsa.MLDSA65PublicKey | mldsa.MLDSA87PublicKey)
    signature = key.sign(DATA, key.schemes[0])
    public.verify(signature, DATA)
    public.verify(signature, DATA, context=b"")
    with pytest.raises(InvalidSignature):
        public.verify(signature, DATA + b"!")
    assert {len(signature), len(key.sign(b"", algorithm))} == {SIGNATURE_SIZE[algorithm]}


SIGNATURE_SIZE = dict(zip(ML_DSA, (2420, 3309, 4627), strict=True))
"""FIPS 204 table 2."""


def test_a_key_refuses_schemes_of_other_keys(keys: dict[KeyAlgorithm, SoftwareKey]) -> None:
    for key in keys.values():
        for scheme in [*Scheme, "ecdsa-sha224", ""]:
            if scheme not in key.schemes:
                with pytest.raises(UnsupportedAlgorithm, match=repr(str(scheme))) as caught:
                    key.sign(DATA, scheme)
                assert all(known in caught.value.remedy for known in key.schemes)


RSA_CIPHERS = [(algorithm, cipher) for algorithm, rule in KEY_PARAMETERS.items() for cipher in rule.ciphers]


def encrypted(key: SoftwareKey, cipher: Cipher, secret: bytes, directory: Path) -> bytes:
    """Return ``secret`` encrypted to ``key`` by OpenSSL."""
    (directory / "public").write_bytes(key.public_key)
    digest = CIPHERS[cipher]
    options = ["-pkeyopt", "rsa_padding_mode:pkcs1"]
    if digest is not None:
        options = [f"rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:{digest} -pkeyopt rsa_mgf1_md:{digest}"]
        options = ["-pkeyopt", *options[0].split()]
    return openssl(
        "pkeyutl", "-encrypt", "-pubin", "-keyform", "DER", "-inkey", directory / "public", *options, data=secret
    )  # fmt: skip


@pytest.mark.parametrize(("algorithm", "cipher"), RSA_CIPHERS)
def test_a_key_decrypts_what_openssl_encrypts_to_it(
    keys: dict[KeyAlgorithm, SoftwareKey], algorithm: KeyAlgorithm, cipher: Cipher, tmp_path: Path
) -> None:
    key = keys[algorithm]
    for secret in (b"\0" * 16, DATA, b""):
        assert key.decrypt(encrypted(key, cipher, secret, tmp_path), cipher) == secret


def test_what_was_not_encrypted_to_the_key_is_refused_without_a_reason(
    keys: dict[KeyAlgorithm, SoftwareKey], tmp_path: Path
) -> None:
    """A text that told damaged padding from a foreign key would help whoever sends ciphertexts to learn a secret."""
    key = keys[KeyAlgorithm.RSA_2048]
    good = encrypted(key, Cipher.RSA_OAEP_SHA256, DATA, tmp_path)
    said = set()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), b"", b"\xff" * 256, good + b"\0", b"\0" + good[:-1]):
        with pytest.raises(PeerDataUnusable) as caught:
            key.decrypt(bad, Cipher.RSA_OAEP_SHA256)
        said.add(str(caught.value))
        assert isinstance(caught.value, ValueError)
    with pytest.raises(PeerDataUnusable):
        key.decrypt(good, Cipher.RSA_OAEP_SHA384)
    assert len(said) == 1


def test_a_wrong_padding_of_pkcs1_is_no_error_but_random_octets_that_stay_the_same(
    keys: dict[KeyAlgorithm, SoftwareKey],
) -> None:
    key = keys[KeyAlgorithm.RSA_2048]
    garbage = [bytes([0, number]) + b"\x5a" * 254 for number in range(1, 17)]
    once = [key.decrypt(one, "rsa-pkcs1") for one in garbage]
    assert [key.decrypt(one, "rsa-pkcs1") for one in garbage] == once
    assert len(set(once)) > 8


def test_a_key_refuses_ciphers_it_does_not_have(keys: dict[KeyAlgorithm, SoftwareKey]) -> None:
    for key in keys.values():
        for cipher in [*Cipher, "rsa-oaep", ""]:
            if cipher not in key.ciphers:
                with pytest.raises(UnsupportedAlgorithm, match="does not decrypt") as caught:
                    key.decrypt(b"\0" * 256, cipher)
                assert all(known in caught.value.remedy for known in key.ciphers)


AGREEING = {
    KeyAlgorithm.EC_P256: ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    KeyAlgorithm.EC_P384: ["EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    KeyAlgorithm.EC_P521: ["EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    KeyAlgorithm.X25519: ["X25519"],
}


@pytest.mark.parametrize("algorithm", AGREEING)
def test_openssl_agrees_on_the_same_secret(
    keys: dict[KeyAlgorithm, SoftwareKey], algorithm: KeyAlgorithm, tmp_path: Path
) -> None:
    key = keys[algorithm]
    peer = tmp_path / "peer.key"
    peer.write_bytes(openssl("genpkey", "-algorithm", *AGREEING[algorithm]))
    (tmp_path / "ours").write_bytes(key.public_key)
    theirs = openssl("pkeyutl", "-derive", "-inkey", peer, "-peerkey", tmp_path / "ours", "-peerform", "DER")
    assert key.agree(openssl("pkey", "-in", peer, "-pubout", "-outform", "DER")) == theirs


def test_there_is_no_secret_with_a_key_on_another_curve_or_with_a_bad_point(
    keys: dict[KeyAlgorithm, SoftwareKey],
) -> None:
    off_the_curve = keys[KeyAlgorithm.EC_P256].public_key[:-1] + b"\0"
    all_zero = keys[KeyAlgorithm.X25519].public_key[:-32] + bytes(32)
    for algorithm in AGREEING:
        others = [key.public_key for name, key in keys.items() if name is not algorithm]
        for peer in [*others, off_the_curve, all_zero, b"", b"\x30\x00"]:
            with pytest.raises(PeerDataUnusable, match="none that agrees") as caught:
                keys[algorithm].agree(peer)
            assert isinstance(caught.value, ValueError)


def test_a_key_that_does_not_agree_says_so(keys: dict[KeyAlgorithm, SoftwareKey]) -> None:
    for algorithm in set(KeyAlgorithm) - set(AGREEING):
        with pytest.raises(UnsupportedAlgorithm, match="does not make shared secrets"):
            keys[algorithm].agree(keys[KeyAlgorithm.X25519].public_key)


def test_a_key_is_found_again_by_its_reference(ours: Path, store: SoftwareKeyStore) -> None:
    made = store.generate(KeyAlgorithm.EC_P256, ours / "a key.pem")
    again = SoftwareKeyStore(ours).find(made.reference)
    assert again.public_key == made.public_key
    assert again.reference == made.reference == (ours / "a key.pem").as_uri()


def test_a_key_is_made_in_a_new_file_of_ours_and_nowhere_else(
    tmp_path: Path, ours: Path, store: SoftwareKeyStore
) -> None:
    first = store.generate(KeyAlgorithm.ED25519, ours / "key.pem")
    with pytest.raises(KeyExists):
        store.generate(KeyAlgorithm.ED25519, ours / "key.pem")
    for place in (tmp_path / "key.pem", ours / ".." / "key.pem"):
        with pytest.raises(KeyPermissions, match="refused to make"):
            store.generate(KeyAlgorithm.ED25519, place)
    assert store.find(first.reference).public_key == first.public_key
    assert names(tmp_path) == ["ours"]


@pytest.mark.parametrize("algorithm", ["ml-dsa-45", "rsa-512", ""])
def test_an_algorithm_nobody_makes_is_refused_with_the_list_of_those_we_do(
    ours: Path, store: SoftwareKeyStore, algorithm: str
) -> None:
    with pytest.raises(UnsupportedAlgorithm) as caught:
        store.generate(algorithm, ours / "key.pem")  # type: ignore[arg-type]
    assert "ec-p256" in caught.value.remedy
    assert names(ours) == []


def test_the_store_tells_what_it_can_do(store: SoftwareKeyStore) -> None:
    assert set(store.capabilities().algorithms) == set(KeyAlgorithm)
    assert set(store.capabilities().schemes) == set(Scheme)
    assert set(store.capabilities().ciphers) == set(Cipher)


@pytest.mark.parametrize("algorithm", ML_DSA)
def test_a_library_without_ml_dsa_is_named_with_what_to_do(
    ours: Path, store: SoftwareKeyStore, algorithm: KeyAlgorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(asymmetric, "mldsa")
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.mldsa", None)
    with pytest.raises(UnsupportedAlgorithm, match=f"cannot make {algorithm} keys") as caught:
        store.generate(algorithm, ours / "key.pem")
    assert "install cryptography 50 or later" in caught.value.remedy
    assert names(ours) == []
    assert set(KeyAlgorithm) - set(store.capabilities().algorithms) == set(ML_DSA)
    assert not set(map(str, ML_DSA)) & set(store.capabilities().schemes)


def test_a_library_whose_openssl_lacks_an_algorithm_is_named_with_what_to_do(
    ours: Path, store: SoftwareKeyStore, foreign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise NotSupported("not in this build")

    foreign.write_bytes(openssl("genpkey", "-algorithm", "ED448"))
    foreign.chmod(0o600)
    monkeypatch.setattr("cryptography.hazmat.primitives.asymmetric.ed448.Ed448PrivateKey.generate", refuse)
    monkeypatch.setattr(serialization, "load_pem_private_key", refuse)
    with pytest.raises(UnsupportedAlgorithm, match="cannot make ed448 keys"):
        store.generate(KeyAlgorithm.ED448, ours / "key.pem")
    with pytest.raises(UnsupportedAlgorithm, match="does not know") as caught:
        store.find(reference_of(foreign))
    assert "use a key of another kind" in caught.value.remedy
    assert KeyAlgorithm.ED448 not in store.capabilities().algorithms


def test_ml_dsa_is_loaded_only_by_those_who_use_it(ours: Path) -> None:
    code = (
        "import sys; from hsm.software import SoftwareKeyStore; from hsm.algorithms import KeyAlgorithm;"
        f"SoftwareKeyStore({str(ours)!r}).generate(KeyAlgorithm.EC_P256, {str(ours / 'key.pem')!r});"
        "sys.exit(any('mldsa' in name and 'rust' not in name for name in sys.modules))"
    )
    root = Path(__file__).parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False, timeout=30).returncode == 0


def test_a_key_of_ours_must_be_private_and_no_link(ours: Path, store: SoftwareKeyStore) -> None:
    key = store.generate(KeyAlgorithm.ED25519, ours / "key.pem")
    (ours / "link.pem").symlink_to("key.pem")
    with pytest.raises(KeyUnusable, match="symbolic link"):
        store.find(reference_of(ours / "link.pem"))
    (ours / "key.pem").chmod(0o640)
    with pytest.raises(KeyPermissions):
        store.find(key.reference)


def test_a_link_among_ours_does_not_make_a_key_outside_one_of_ours_or_theirs(
    tmp_path: Path, ours: Path, store: SoftwareKeyStore
) -> None:
    """A directory link inside leads to files that are not ours, a link outside to files that are."""
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "key.pem").write_bytes(b"")
    (ours / "out").symlink_to(tmp_path / "theirs")
    with pytest.raises(KeyPermissions, match="refused to destroy"):
        store.destroy(reference_of(ours / "out" / "key.pem"))
    (tmp_path / "in").symlink_to(ours)
    key = store.generate(KeyAlgorithm.ED25519, ours / "key.pem")
    store.destroy(reference_of(tmp_path / "in" / "key.pem"))
    with pytest.raises(KeyNotFound):
        store.find(key.reference)


def test_destroying_is_for_ours_and_may_be_repeated(ours: Path, store: SoftwareKeyStore, foreign: Path) -> None:
    key = store.generate(KeyAlgorithm.ED25519, ours / "key.pem")
    store.destroy(key.reference)
    store.destroy(key.reference)
    assert names(ours) == []
    foreign.write_bytes(b"theirs")
    with pytest.raises(KeyPermissions, match="refused to destroy") as caught:
        store.destroy(reference_of(foreign))
    assert "made elsewhere" in caught.value.remedy
    with pytest.raises(KeyNotFound):
        store.destroy("pkcs11:object=ike")
    assert foreign.read_bytes() == b"theirs"


EC = ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]


@pytest.mark.parametrize(
    ("command", "family"),
    [
        ([*EC], Family.EC),
        ([*EC, "-outform", "DER"], Family.EC),
        (["ecparam", "-name", "prime256v1", "-genkey"], Family.EC),
        (["ecparam", "-name", "secp384r1", "-genkey", "-noout", "-outform", "DER"], Family.EC),
        (["genrsa", "-traditional", "2048"], Family.RSA),
        (["genrsa", "2048"], Family.RSA),
        (["genpkey", "-algorithm", "ED25519"], Family.ED25519),
        (["genpkey", "-algorithm", "ED448"], Family.ED448),
    ],
    ids=[
        "PKCS8 PEM",
        "PKCS8 DER",
        "SEC1 PEM with parameters",
        "SEC1 DER",
        "PKCS1 PEM",
        "RSA PKCS8",
        "Ed25519",
        "Ed448",
    ],
)
def test_keys_made_by_openssl_are_used_and_left_as_they_are(
    store: SoftwareKeyStore, foreign: Path, command: list[str], family: Family
) -> None:
    content = openssl(*command)
    foreign.write_bytes(content)
    foreign.chmod(0o640)
    key = store.find(reference_of(foreign))
    assert {SCHEMES[scheme].family for scheme in key.schemes} == {family}
    assert key.public_key == openssl("pkey", "-in", foreign, "-pubout", "-outform", "DER")
    assert key.sign(DATA, key.schemes[0])
    assert foreign.read_bytes() == content
    assert foreign.stat().st_mode & 0o777 == 0o640


def test_an_rsa_key_of_a_size_we_do_not_make_is_used(store: SoftwareKeyStore, foreign: Path) -> None:
    key = found(store, foreign, openssl("genrsa", "2560"))
    assert len(key.sign(DATA, "rsa-pss-sha512")) == 320
    assert (key.algorithm, key.legacy) == (None, False)


EXPANDED_SIZE = dict(zip(ML_DSA, (2560, 4032, 4896), strict=True))
"""FIPS 204 table 2."""


def expanded(algorithm: KeyAlgorithm, seed: bytes | None) -> bytes:
    """Return the PrivateKeyInfo of an ML-DSA key as OpenSSL 3.5 writes it, or without a seed (RFC 9881 section 6)."""
    octets = b"\x04\x82" + EXPANDED_SIZE[algorithm].to_bytes(2, "big") + b"\x5a" * EXPANDED_SIZE[algorithm]
    if seed is not None:
        octets = b"\x04\x20" + seed + octets
        octets = b"\x30\x82" + len(octets).to_bytes(2, "big") + octets
    number = 0x11 + ML_DSA.index(algorithm)
    head = bytes.fromhex("020100300b06096086480165030403") + bytes([number])
    octets = head + b"\x04\x82" + len(octets).to_bytes(2, "big") + octets
    return b"\x30\x82" + len(octets).to_bytes(2, "big") + octets


@pytest.mark.parametrize("algorithm", ML_DSA)
@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_an_ml_dsa_key_that_openssl_wrote_with_seed_and_expanded_key_is_used(
    store: SoftwareKeyStore, foreign: Path, algorithm: KeyAlgorithm, form: str
) -> None:
    private: Any = getattr(mldsa, f"MLDSA{algorithm[-2:]}PrivateKey").from_seed_bytes(b"\x17" * 32)
    content = expanded(algorithm, b"\x17" * 32)
    if form == "PEM":
        content = b"-----BEGIN PRIVATE KEY-----\n" + encodebytes(content) + b"-----END PRIVATE KEY-----\n"
    key = found(store, foreign, content)
    assert key.algorithm is algorithm
    assert serialization.load_der_public_key(key.public_key) == private.public_key()
    for damaged in (content[:-1], content[: len(content) // 2]) if form == "DER" else (content.replace(b"a", b"*"),):
        with pytest.raises(KeyUnusable, match="no readable private key"):
            found(store, foreign, damaged)


@pytest.mark.parametrize("algorithm", ML_DSA)
def test_an_ml_dsa_key_without_its_seed_is_refused_with_the_command_that_helps(
    store: SoftwareKeyStore, foreign: Path, algorithm: KeyAlgorithm
) -> None:
    with pytest.raises(KeyUnusable, match="without the seed it was made from") as caught:
        found(store, foreign, expanded(algorithm, None))
    assert "ml-dsa.output_formats=seed-only" in caught.value.remedy


def test_short_keys_made_elsewhere_are_found_and_flagged(store: SoftwareKeyStore, foreign: Path) -> None:
    key = found(store, foreign, openssl("genrsa", "1536"))
    assert (key.algorithm, key.legacy) == (None, True)
    assert key.sign(DATA, "rsa-pkcs1-sha1")


def test_a_key_for_agreement_alone_is_found_and_signs_nothing(store: SoftwareKeyStore, foreign: Path) -> None:
    key = found(store, foreign, openssl("genpkey", "-algorithm", "X25519"))
    assert (key.schemes, key.ciphers, key.agrees) == ((), (), True)
    with pytest.raises(UnsupportedAlgorithm) as caught:
        key.sign(DATA, "ed25519")
    assert caught.value.remedy == "use a key of another algorithm"


def test_certificates_and_windows_line_ends_around_the_key_do_not_matter(
    store: SoftwareKeyStore, foreign: Path
) -> None:
    pem = openssl(*EC)
    plain = found(store, foreign, pem)
    certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    bundle = b"Bag Attributes\n" + certificate + pem + certificate + pem
    assert found(store, foreign, bundle).public_key == plain.public_key
    assert found(store, foreign, pem.replace(b"\n", b"\r\n")).public_key == plain.public_key


def test_two_different_keys_in_one_file_are_refused(store: SoftwareKeyStore, foreign: Path) -> None:
    with pytest.raises(KeyUnusable, match="2 private keys") as caught:
        found(store, foreign, openssl(*EC) + openssl(*EC))
    assert "file of its own" in caught.value.remedy


@pytest.mark.parametrize(
    "command",
    [
        ["pkcs8", "-topk8", "-passout", "pass:secret"],
        ["pkcs8", "-topk8", "-passout", "pass:secret", "-outform", "DER"],
        ["ec", "-aes128", "-passout", "pass:secret"],
    ],
    ids=["PKCS8 PEM", "PKCS8 DER", "SEC1 PEM"],
)
def test_an_encrypted_key_is_refused_with_the_command_that_helps(
    store: SoftwareKeyStore, foreign: Path, command: list[str]
) -> None:
    encrypted = openssl(*command, data=openssl(*EC))
    with pytest.raises(KeyUnusable, match="is encrypted") as caught:
        found(store, foreign, encrypted)
    assert f"openssl pkey -in {foreign}" in caught.value.remedy


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["genrsa", "768"], "RSA key of 768 bits"),
        (["genpkey", "-algorithm", "X448"], "a kind that is not used here"),
        (["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"], "curve secp256k1"),
    ],
)
def test_keys_of_other_kinds_are_refused_by_name(
    store: SoftwareKeyStore, foreign: Path, command: list[str], reason: str
) -> None:
    with pytest.raises(KeyUnusable, match=reason) as caught:
        found(store, foreign, openssl(*command))
    assert "2048 bits" in caught.value.remedy


def test_an_openssh_key_is_refused_with_the_command_that_helps(store: SoftwareKeyStore, foreign: Path) -> None:
    key = rsa.generate_private_key(65_537, 2048)
    content = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    with pytest.raises(KeyUnusable, match="OpenSSH") as caught:
        found(store, foreign, content)
    assert "ssh-keygen -p -m PKCS8" in caught.value.remedy


def test_a_public_key_or_certificate_alone_is_no_key(store: SoftwareKeyStore, foreign: Path) -> None:
    for label in (b"PUBLIC KEY", b"CERTIFICATE"):
        block = b"-----BEGIN %b-----\nAAAA\n-----END %b-----\n" % (label, label)
        with pytest.raises(KeyUnusable, match=f"holds {label.decode()} but no private key"):
            found(store, foreign, block)


def test_a_damaged_file_is_refused_whatever_is_left_of_it(store: SoftwareKeyStore, foreign: Path) -> None:
    pem, der = openssl(*EC), openssl(*EC, "-outform", "DER")
    cut_short = [pem[:end] for end in range(0, len(pem) - 2, 9)] + [der[:end] for end in range(0, len(der), 9)]
    for content in [*cut_short, bytes(len(der)), pem.replace(b"M", b"*"), b"\xff" * 40]:
        with pytest.raises(KeyUnusable, match="no readable private key") as caught:
            found(store, foreign, content)
        assert "openssl pkey -noout" in caught.value.remedy


def test_private_bytes_show_up_nowhere(ours: Path, store: SoftwareKeyStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        key = store.generate(KeyAlgorithm.EC_P256, ours / "key.pem")
        logging.getLogger().info("%s %r", key, key)
    assert repr(key) == str(key) == f"SoftwareKey({key.reference!r})"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            leak(key)
    secrets = (ours / "key.pem").read_text().splitlines()[1:-1]

    (ours / "key.pem").write_bytes((ours / "key.pem").read_bytes().replace(b"-----END", b"!-----END"))
    shown = caplog.text
    try:
        store.find(key.reference)
    except KeyStoreError as error:
        shown += "".join(traceback.format_exception(error))
    assert "no readable private key" in shown
    assert not [line for line in secrets if line in shown]
    assert not hasattr(key, "__dict__")
