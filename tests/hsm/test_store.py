"""The adapter against SoftHSM2: keys are made, found, used and destroyed on the token, and never leave it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pkcs11
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from hsm.algorithms import CIPHERS, SCHEMES, KeyAlgorithm, Padding, Scheme
from hsm.errors import (
    KeyExists,
    KeyNotFound,
    KeyPermissions,
    KeyStoreError,
    KeyStoreUnwritable,
    KeyUnusable,
    ModuleUnusable,
    PeerDataUnusable,
    PinRefused,
    TokenAbsent,
    TokenFailed,
    UnsupportedAlgorithm,
)
from hsm.keystore import Key, KeyStore
from hsm.module import TokenAddress, tokens_behind
from hsm.pinmemory import PinMemory
from hsm.pkcs11 import TokenKeyStore
from hsm.tokenkey import TokenKey
from tests.hsm.tokens import PIN, Token
from tests.station import until

MADE = ["ec-p256", "ec-p384", "ec-p521", "ed25519", "ed448", "rsa-2048"]
MD5 = hashes.MD5()  # noqa: S303 - old peers want it
SHA1 = hashes.SHA1()  # noqa: S303 - old peers want it
DIGESTS: dict[str, hashes.HashAlgorithm] = {
    "md5": MD5,
    "sha1": SHA1,
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@pytest.fixture
def store(token: Token, tmp_path: Path) -> TokenKeyStore:
    return token.store(tmp_path / "memory")


def made(store: TokenKeyStore, algorithm: str = "ec-p256") -> TokenKey:
    return store.generate(KeyAlgorithm(algorithm), store.propose("ike"))


def verify(key: TokenKey, signature: bytes, scheme: Scheme) -> None:
    """Check a signature with a library that knows nothing of tokens."""
    public, rule = load_der_public_key(key.public_key), SCHEMES[scheme]
    match public:
        case rsa.RSAPublicKey():
            digest = DIGESTS[str(rule.digest)]
            pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
            public.verify(signature, b"data", pss if rule.padding is Padding.PSS else padding.PKCS1v15(), digest)
        case ec.EllipticCurvePublicKey():
            public.verify(signature, b"data", ec.ECDSA(DIGESTS[str(rule.digest)]))
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            public.verify(signature, b"data")
        case _:
            pytest.fail(f"{public} is no key that signs")


@pytest.mark.parametrize("algorithm", MADE)
def test_a_key_signs_in_every_way_it_says_it_can(store: TokenKeyStore, algorithm: str) -> None:
    key = made(store, algorithm)
    assert isinstance(key, Key)
    assert isinstance(store, KeyStore)
    assert key.algorithm == algorithm
    assert key.schemes
    for scheme in key.schemes:
        verify(key, key.sign(b"data", scheme), scheme)
    again = store.find(key.reference)
    assert (again.public_key, again.reference) == (key.public_key, key.reference)


def test_what_the_token_lists_is_what_it_makes(store: TokenKeyStore) -> None:
    able = store.capabilities().algorithms
    assert set(MADE) | {"rsa-3072", "rsa-4096"} <= set(able)
    assert "ml-dsa-44" not in able
    with pytest.raises(UnsupportedAlgorithm, match=r"token hsm cannot make ml-dsa-44; it can make rsa-2048, .*ec-p256"):
        made(store, "ml-dsa-44")


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_the_private_half_cannot_be_read_by_anybody(token: Token, store: TokenKeyStore, algorithm: str) -> None:
    made(store, algorithm)
    shown = token.tool("--list-objects", "--type", "privkey")
    assert "Access:     sensitive, always sensitive, never extractable, local" in shown
    assert "label:      enrolld:ike:" in shown


@pytest.mark.parametrize("algorithm", ["ec-p256", "rsa-2048"])
def test_a_key_that_the_token_would_give_out_is_not_used(token: Token, store: TokenKeyStore, algorithm: str) -> None:
    token.order("C_GenerateKeyPair careless")
    with pytest.raises(KeyUnusable, match="can be read") as told:
        made(store, algorithm)
    assert "another token" in told.value.remedy
    assert store.inventory() == ()
    assert "enrolld:" not in token.tool("--list-objects")


def test_two_keys_never_share_a_name(store: TokenKeyStore) -> None:
    first, second = made(store), made(store)
    assert first.reference != second.reference
    assert first.public_key != second.public_key
    with pytest.raises(KeyExists):
        store.generate(KeyAlgorithm.EC_P256, first.reference)


def test_rsa_decrypts_what_the_token_knows_and_names_what_it_does_not(store: TokenKeyStore) -> None:
    key = made(store, "rsa-2048")
    public = load_der_public_key(key.public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    sha1 = padding.OAEP(padding.MGF1(SHA1), SHA1, None)
    sha256 = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
    assert key.decrypt(public.encrypt(b"secret", padding.PKCS1v15()), "rsa-pkcs1") == b"secret"
    assert key.decrypt(public.encrypt(b"secret", sha1), "rsa-oaep-sha1") == b"secret"
    with pytest.raises(UnsupportedAlgorithm):  # SoftHSM has OAEP with SHA-1 only
        key.decrypt(public.encrypt(b"secret", sha256), "rsa-oaep-sha256")
    for cipher in ("rsa-pkcs1", "rsa-oaep-sha1"):
        assert cipher in CIPHERS
        with pytest.raises(PeerDataUnusable):
            key.decrypt(b"\1" * 256, cipher)


@pytest.mark.parametrize("algorithm", ["ec-p256", "ec-p384", "ec-p521"])
def test_keys_on_curves_agree_on_a_secret(store: TokenKeyStore, algorithm: str) -> None:
    key = made(store, algorithm)
    public = load_der_public_key(key.public_key)
    assert isinstance(public, ec.EllipticCurvePublicKey)
    other = ec.generate_private_key(public.curve)
    theirs = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert key.agree(theirs) == other.exchange(ec.ECDH(), public)
    with pytest.raises(PeerDataUnusable):
        key.agree(made(store, "ed25519").public_key)


@pytest.mark.parametrize("curve", [ec.SECP256K1(), ec.BrainpoolP256R1()], ids=lambda one: one.name)
def test_a_point_on_another_curve_of_the_same_size_never_reaches_the_token(
    token: Token, store: TokenKeyStore, curve: ec.EllipticCurve
) -> None:
    """A token that does not look would give its key away, a few bits each time."""
    key = made(store)
    theirs = ec.generate_private_key(curve).public_key()
    token.order("C_OpenSession return:0x5")
    with pytest.raises(PeerDataUnusable, match="none that agrees"):
        key.agree(theirs.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def test_a_key_made_elsewhere_is_found_by_its_label_and_never_destroyed(token: Token, store: TokenKeyStore) -> None:
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "factory key", "--id", "4711")
    key = store.find("pkcs11:token=enb;object=factory%20key")
    verify(key, key.sign(b"data", "ecdsa-sha256"), Scheme.ECDSA_SHA256)
    assert "id=%47%11" in key.reference
    assert "serial=" in key.reference
    with pytest.raises(KeyPermissions):
        store.destroy(key.reference)
    token.tool("--keypairgen", "--key-type", "EC:prime256v1", "--label", "factory key", "--id", "4712")
    with pytest.raises(KeyUnusable, match="2 keys"):
        store.find("pkcs11:token=enb;object=factory%20key")


def test_destroying_takes_all_of_the_pair_and_may_be_repeated(token: Token, store: TokenKeyStore) -> None:
    key, other = made(store), made(store)
    store.destroy(key.reference)
    store.destroy(key.reference)
    with pytest.raises(KeyNotFound):
        store.find(key.reference)
    with pytest.raises(KeyNotFound):
        key.sign(b"data", "ecdsa-sha256")
    assert [one.reference for one in store.inventory()] == [other.reference]
    assert token.tool("--list-objects").count("enrolld:ike:") == 2


def test_an_unplugged_token_is_absent_until_it_is_plugged_in_again(token: Token, store: TokenKeyStore) -> None:
    key = made(store)
    token.unplug()
    with pytest.raises(TokenAbsent) as absent:
        key.sign(b"data", "ecdsa-sha256")
    assert "enb" in str(absent.value)
    token.plug()
    verify(key, key.sign(b"data", "ecdsa-sha256"), Scheme.ECDSA_SHA256)


def test_another_token_with_the_same_label_is_not_taken_for_it(token: Token, store: TokenKeyStore) -> None:
    key = made(store)
    token.unplug()
    token.initialise()
    with pytest.raises(TokenAbsent, match="is another one: its serial number is") as wrong:
        key.sign(b"data", "ecdsa-sha256")
    assert "tokens.hsm.serial" in wrong.value.remedy


def test_two_tokens_with_one_label_are_told_apart_by_their_serial_numbers(
    token: Token, store: TokenKeyStore, tmp_path: Path
) -> None:
    serial = store.facts().serial
    token.initialise()
    pkcs11.lib(str(token.module)).reinitialize()
    with pytest.raises(TokenAbsent, match="several tokens have the label enb"):
        token.store(tmp_path).facts()
    assert token.store(tmp_path, serial=serial).facts().serial == serial


def test_a_label_that_no_token_has_is_told_with_those_there_are(token: Token, tmp_path: Path) -> None:
    with pytest.raises(TokenAbsent, match=r"labelled enc \(present: enb; one there is not initialised yet\)"):
        token.store(tmp_path, label="enc").facts()


@pytest.mark.parametrize("code", ["0x30", "0x32", "0x5", "0x80000001"])
def test_another_reader_that_fails_takes_no_token_along(token: Token, store: TokenKeyStore, code: str) -> None:
    key = made(store)
    token.order(f"C_GetTokenInfo blank:{code}")
    verify(key, key.sign(b"data", "ecdsa-sha256"), Scheme.ECDSA_SHA256)
    assert [one.label for one in tokens_behind(token.module)] == ["enb"]
    token.unplug()
    with pytest.raises(TokenAbsent, match="is gone"):  # it may be the one that fails
        key.sign(b"data", "ecdsa-sha256")


@pytest.mark.parametrize("module", ["/nonexistent.so", "/etc/passwd"])
def test_what_is_no_module_is_told(token: Token, tmp_path: Path, module: str) -> None:
    with pytest.raises(ModuleUnusable, match=module):
        token.store(tmp_path, module=Path(module)).facts()
    with pytest.raises(ModuleUnusable):
        tokens_behind(Path(module))


CODES = [
    ("C_Sign", "0x32", TokenAbsent),
    ("C_Sign", "0x5", TokenFailed),
    ("C_Sign", "0x30", TokenFailed),
    ("C_Sign", "0x80001234", TokenFailed),
    ("C_Sign", "0x101", KeyUnusable),
    ("C_SignInit", "0x70", UnsupportedAlgorithm),
    ("C_OpenSession", "0xE0", TokenAbsent),
    ("C_OpenSession", "0xB1", TokenFailed),
    ("C_Login", "0xA4", PinRefused),
    ("C_Login", "0xA3", PinRefused),
    ("C_Login", "0x102", PinRefused),
    ("C_GetSlotList", "0x5", TokenAbsent),
]


@pytest.mark.parametrize(("function", "code", "kind"), CODES)
def test_each_code_is_told_in_words_with_a_remedy(
    token: Token, store: TokenKeyStore, function: str, code: str, kind: type[KeyStoreError]
) -> None:
    key = made(store)
    token.order(f"{function} return:{code}")
    with pytest.raises(kind) as told:
        key.sign(b"data", "ecdsa-sha256")
    assert told.value.remedy
    assert "hsm" in str(told.value)
    token.order()
    verify(key, key.sign(b"data", "ecdsa-sha256"), Scheme.ECDSA_SHA256)


@pytest.mark.parametrize(("code", "word"), [("0x31", "full"), ("0xE2", "write-protected")])
def test_a_token_that_takes_no_key_says_why(token: Token, store: TokenKeyStore, code: str, word: str) -> None:
    token.order(f"C_GenerateKeyPair return:{code}")
    with pytest.raises(KeyStoreUnwritable, match=word):
        made(store)


def test_a_wrong_pin_reaches_the_token_once_however_often_it_is_asked(token: Token, tmp_path: Path) -> None:
    for _ in range(10):
        with pytest.raises(PinRefused):
            token.store(tmp_path, pin=b"0000").log_in()
    assert token.logins == ["0xa0"]


def test_another_pin_is_tried_at_once_and_a_good_one_ends_the_matter(token: Token, tmp_path: Path) -> None:
    with pytest.raises(PinRefused):
        token.store(tmp_path, pin=b"0000").log_in()
    token.store(tmp_path).log_in()
    assert not (tmp_path / "hsm.json").exists()
    assert token.logins == ["0xa0", "0x0"]


def test_a_pin_is_not_tried_where_its_refusal_could_not_be_written_down(token: Token) -> None:
    nowhere = Path("/proc/self/net")  # there, and nobody makes a file in it
    for pin in (b"0000", PIN):
        with pytest.raises(KeyStoreUnwritable, match="could not be written down") as told:
            token.store(nowhere, pin=pin).log_in()
        assert "/proc/self/net" in told.value.remedy
    assert token.logins == []


def test_a_person_may_have_it_tried_all_the_same(token: Token) -> None:
    address = TokenAddress(name="hsm", module=token.module, label="enb")
    TokenKeyStore(address, PIN, PinMemory(Path("/proc/self/net/hsm.json"), insist=True)).log_in()
    assert token.logins == ["0x0"]


def test_of_processes_that_try_a_wrong_pin_at_once_one_does(token: Token, tmp_path: Path) -> None:
    trying = (
        "import sys; from pathlib import Path; from tests.hsm.tokens import *\n"
        "address = TokenAddress(name='hsm', module=Path(sys.argv[1]), label='enb')\n"
        "TokenKeyStore(address, b'0000', PinMemory(Path(sys.argv[2]) / 'hsm.json')).log_in()\n"
    )
    with PinMemory(tmp_path / "hsm.json").trying():
        workers = [
            subprocess.Popen([sys.executable, "-c", trying, token.module, tmp_path], stderr=subprocess.PIPE, text=True)
            for _ in range(4)
        ]
        until(lambda: all(_waits(one.pid) for one in workers))
    said = [one.communicate(timeout=60)[1] for one in workers]
    assert all("PinRefused" in one for one in said), said
    assert token.logins == ["0xa0"]
    assert sorted(one.name for one in tmp_path.glob("*hsm*")) == ["hsm.json", "hsm.lock", "softhsm"]


def _waits(pid: int) -> bool:
    """Tell whether a process has the lock open that somebody else holds."""
    return any(
        str(one.readlink()).endswith("/hsm.lock") for one in Path(f"/proc/{pid}/fd").iterdir() if one.is_symlink()
    )


def test_of_a_refused_pin_one_octet_is_kept(token: Token, tmp_path: Path) -> None:
    with pytest.raises(PinRefused):
        token.store(tmp_path, pin=b"31415926").log_in()
    kept = (tmp_path / "hsm.json").read_text()
    assert "31415926" not in kept
    assert 0 <= int(kept.split('"mark": ')[1].rstrip("}")) < 256
    assert (tmp_path / "hsm.json").stat().st_mode & 0o777 == 0o600


def test_a_memory_that_is_damaged_asks_for_a_person(token: Token, tmp_path: Path) -> None:
    (tmp_path / "hsm.json").write_text("{")
    with pytest.raises(PinRefused, match="before"):
        token.store(tmp_path, pin=PIN).log_in()
    assert token.logins == []


def test_the_certificate_beside_a_key_is_replaced_and_never_missing(
    token: Token, store: TokenKeyStore, certificates: tuple[bytes, bytes]
) -> None:
    key = made(store)
    old, new = certificates
    assert store.put_certificate(key.reference, old)
    assert not store.put_certificate(key.reference, old)
    assert store.put_certificate(key.reference, new)
    assert [one.certificate for one in store.inventory()] == [new]
    key_id = token.tool("--list-objects", "--type", "privkey").split("ID:")[1].split()[0]
    assert f"ID:         {key_id}" in token.tool("--list-objects", "--type", "cert")
