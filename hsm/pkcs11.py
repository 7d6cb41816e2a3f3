"""Keys on a PKCS#11 token, through python-pkcs11. Private keys are made there and never leave it.

Every operation has a session of its own: a TPM holds few keys loaded, a token may have been pulled out and put back
since the last one, and nothing is held open while a CA takes its time. The PIN is given to the token again each time,
but never after the token refused it (:mod:`hsm.pinmemory`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import pkcs11
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pkcs11 import KDF, Attribute, KeyType, Mechanism, ObjectClass, TokenFlag
from pkcs11 import exceptions as ckr
from pkcs11.constants import DEFAULT

from hsm import ckr as meanings
from hsm import mechanisms, objects, uri
from hsm.algorithms import CIPHERS, SCHEMES, Cipher, Family, KeyAlgorithm, Scheme
from hsm.errors import (
    KeyExists,
    KeyNotFound,
    KeyPermissions,
    KeyUnusable,
    PeerDataUnusable,
    PinRefused,
    TokenAbsent,
    UnsupportedAlgorithm,
)
from hsm.keystore import Capabilities
from hsm.kinds import Kind, Unsuitable, kind_of
from hsm.uri import OURS, KeyUri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from hsm.pinmemory import PinMemory

_ID_OCTETS: Final = 16
_SHIFTING: Final = (
    ckr.GeneralError,
    ckr.DeviceError,
    ckr.FunctionFailed,
    ckr.ObjectHandleInvalid,
    ckr.KeyHandleInvalid,
)
"""Codes behind which the token may simply be gone."""
_STALE: Final = (ckr.SessionHandleInvalid, ckr.SessionClosed, ckr.SlotIDInvalid)

_T = TypeVar("_T")

# What a module decides itself is left to it: tpm2-pkcs11 refuses EC keys of which it is said what they do not do.
_PUBLIC: Final = {Attribute.ENCRYPT: DEFAULT, Attribute.WRAP: DEFAULT}
_PRIVATE: Final = {
    Attribute.DECRYPT: DEFAULT,
    Attribute.UNWRAP: DEFAULT,
    Attribute.DERIVE: DEFAULT,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.TOKEN: True,
    Attribute.PRIVATE: True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAddress:
    """Where a token is: ``name`` is what people call it, ``serial`` None where the label is enough."""

    name: str
    module: Path
    label: str
    serial: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts:
    """What a token tells of itself."""

    label: str
    serial: str
    manufacturer: str
    model: str
    initialised: bool
    write_protected: bool
    pin_is_set: bool
    pin_locked: bool
    pin_nearly_locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A private key on the token, with what stands beside it. ``ours``: made by us."""

    reference: str
    label: str
    ours: bool
    algorithm: KeyAlgorithm | None
    certificate: bytes | None = field(default=None, repr=False)


class TokenKey:
    """A private key on a token: its name, its public half, and how to use it."""

    __slots__ = ("_bits", "_store", "_uri", "agrees", "algorithm", "ciphers", "legacy", "public_key", "schemes")

    public_key: bytes
    algorithm: KeyAlgorithm | None
    schemes: tuple[Scheme, ...]
    ciphers: tuple[Cipher, ...]
    agrees: bool
    legacy: bool

    def __init__(self, store: TokenKeyStore, where: KeyUri, public: PublicKeyTypes, kind: Kind) -> None:
        """Keep where the key is; ``kind`` is what it can do on this token."""
        self._store = store
        self._uri = where
        self._bits = public.key_size if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else 0
        self.algorithm, self.schemes, self.ciphers = kind.algorithm, kind.schemes, kind.ciphers
        self.agrees, self.legacy = kind.agrees, kind.legacy
        self.public_key = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def __repr__(self) -> str:
        """Name the key."""
        return f"TokenKey({self.reference!r})"

    @property
    def reference(self) -> str:
        """The key's ``pkcs11:`` URI, with the serial number of its token."""
        return str(self._uri)

    def sign(self, data: bytes, scheme: str) -> bytes:
        """Sign ``data`` (whole, not hashed); see :meth:`hsm.keystore.Key.sign`.

        Raise :class:`hsm.errors.UnsupportedAlgorithm`, :class:`hsm.errors.KeyNotFound` or a
        :class:`hsm.errors.TokenError`.
        """
        self._demand("sign", scheme, self.schemes)
        how = mechanisms.signing(Scheme(scheme), data, self._bits)
        signature = self._use("signed", lambda key, _: _signed(key, how))
        if SCHEMES[Scheme(scheme)].family is not Family.EC:
            return signature
        half = len(signature) // 2  # r and s, one behind the other (PKCS#11 2.3.1)
        return encode_dss_signature(int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big"))

    def decrypt(self, ciphertext: bytes, scheme: str) -> bytes:
        """Decrypt what was encrypted to this key; see :meth:`hsm.keystore.Key.decrypt`.

        Raise :class:`hsm.errors.UnsupportedAlgorithm`, :class:`hsm.errors.PeerDataUnusable`,
        :class:`hsm.errors.KeyNotFound` or a :class:`hsm.errors.TokenError`.
        """
        self._demand("decrypt", scheme, self.ciphers)
        how = mechanisms.decryption(Cipher(scheme), ciphertext)
        try:
            return self._use(
                "decrypted",
                lambda key, _: bytes(key.decrypt(how.data, mechanism=how.mechanism, mechanism_param=how.parameter)),
                wrong=(ckr.GeneralError, ckr.FunctionFailed),
            )
        except _Wrong as error:  # what SoftHSM says of a wrong padding
            raise PeerDataUnusable(
                f"what was to be decrypted with {scheme} was not encrypted to the key {self.reference}",
                remedy="ask the sender which key and which algorithm he encrypts with",
            ) from error

    def agree(self, peer_public_key: bytes) -> bytes:
        """Return the secret shared with the owner of ``peer_public_key``; see :meth:`hsm.keystore.Key.agree`.

        Raise :class:`hsm.errors.UnsupportedAlgorithm`, :class:`hsm.errors.PeerDataUnusable`,
        :class:`hsm.errors.KeyNotFound` or a :class:`hsm.errors.TokenError`.
        """
        if not self.agrees:
            raise UnsupportedAlgorithm(
                f"the key {self.reference} does not make shared secrets",
                remedy="use a token that has CKM_ECDH1_DERIVE, or a key in software",
            )
        try:
            peer = serialization.load_der_public_key(peer_public_key)
        except ValueError:
            peer = None
        if not isinstance(peer, ec.EllipticCurvePublicKey) or peer.key_size != self._bits:
            raise PeerDataUnusable(
                f"the other side's public key is none that agrees with the key {self.reference}",
                remedy="ask the sender for a key on the same curve",
            )
        point = peer.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        return self._use("agreed on a secret", lambda key, _: _derived(key, point, (self._bits + 7) // 8))

    def _use(self, doing: str, work: Callable[[Any, Any], _T], *, wrong: tuple[type[ckr.PKCS11Error], ...] = ()) -> _T:
        return self._store.with_key(self._uri, doing, work, wrong=wrong)

    def _demand(self, doing: str, scheme: str, known: tuple[str, ...]) -> None:
        if scheme not in known:
            able = f"it can {', '.join(known)}" if known else "it can nothing of the kind"
            raise UnsupportedAlgorithm(
                f"the key {self.reference} does not {doing} with {scheme!r}; {able}",
                remedy="use another signature algorithm, or a key of another algorithm",
            )


class _Wrong(Exception):
    """The token answered with a code that, where it came, is about what it was given."""


class TokenKeyStore:
    """The keys of one token. It is loaded, and the PIN tried, at the first operation."""

    def __init__(self, address: TokenAddress, pin: bytes | None, memory: PinMemory) -> None:
        """Keep where the token is; ``pin`` is None where only what is public is asked for."""
        self._address = address
        self._pin = pin
        self._memory = memory
        self._pin_is_good = False

    @property
    def name(self) -> str:
        """What people call the token."""
        return self._address.name

    # --- keys -------------------------------------------------------------------------------------------------------

    def propose(self, owner: str) -> str:
        """Return the reference of a key that does not exist yet, for ``owner``: to be written down before it is made.

        Raise a :class:`hsm.errors.TokenError`.
        """
        facts = self.facts()
        key_id = os.urandom(_ID_OCTETS)
        label = f"{OURS}{owner}:{key_id[:4].hex()}"
        return str(KeyUri(token=facts.label, serial=facts.serial, id=key_id, object=label))

    def generate(self, algorithm: KeyAlgorithm, place: str | os.PathLike[str]) -> TokenKey:
        """Make a key pair under the reference ``place`` (:meth:`propose`); it is on the token when this returns.

        Raise :class:`hsm.errors.KeyExists`, :class:`hsm.errors.UnsupportedAlgorithm`,
        :class:`hsm.errors.KeyStoreUnwritable` or a :class:`hsm.errors.TokenError`.
        """
        where = uri.parse(str(place))
        how = mechanisms.recipe(algorithm)
        able = self.capabilities().algorithms
        if how is None or algorithm not in able:
            raise self._cannot_make(algorithm, able)
        doing = f"made a key of {algorithm}"
        with self._session(doing, serial=where.serial, write=True) as session:
            if next(_private_keys(session, where), None) is not None:
                raise KeyExists(f"there is a key {place} already", remedy="nothing was changed; try again")
            try:
                _make(session, how, where)
            except (
                ckr.MechanismInvalid,
                ckr.KeySizeRange,
                ckr.DomainParamsInvalid,
                ckr.AttributeValueInvalid,
            ) as error:
                others = tuple(one for one in able if one is not algorithm)
                raise self._cannot_make(algorithm, others) from error
        return self.find(str(where))

    def find(self, reference: str) -> TokenKey:
        """Open the key a ``pkcs11:`` URI (RFC 7512) names.

        Raise :class:`hsm.errors.KeyNotFound`, :class:`hsm.errors.KeyUnusable` or a :class:`hsm.errors.TokenError`.
        """
        where = uri.parse(reference)
        if not where.names_a_key:
            raise KeyNotFound(
                f"{reference} names a token but no key on it", remedy="add the key's object= (label) or id= to the URI"
            )
        return self.with_key(where, "looked for a key", self._opened)

    def destroy(self, reference: str) -> None:
        """Remove a key pair of ours and the certificate beside it; one that is gone already is no error.

        Raise :class:`hsm.errors.KeyPermissions` for a key made elsewhere, or a :class:`hsm.errors.TokenError`.
        """
        where = uri.parse(reference)
        if where.id is None or not (where.object or "").startswith(OURS):
            raise KeyPermissions(
                f"refused to destroy the key {reference}: it was not made here",
                remedy="keys made elsewhere are only used; remove it with pkcs11-tool if nobody needs it",
            )
        with self._session("destroyed a key", serial=where.serial, write=True) as session:
            # The private half last: while it is there, a second try finds the rest.
            for kind in (ObjectClass.CERTIFICATE, ObjectClass.PUBLIC_KEY, ObjectClass.PRIVATE_KEY):
                for item in list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: where.id})):
                    item.destroy()

    def put_certificate(self, reference: str, certificate: bytes) -> bool:
        """Have exactly ``certificate`` (DER) stand beside the key, under its CKA_ID; tell whether that took a change.

        Raise :class:`hsm.errors.KeyNotFound`, :class:`hsm.errors.KeyStoreUnwritable` or a
        :class:`hsm.errors.TokenError`.
        """
        where = uri.parse(reference)

        def put(key: Any, session: Any) -> bool:
            key_id, label = bytes(key[Attribute.ID]), str(objects.attribute(key, Attribute.LABEL) or "")
            there = list(session.get_objects({Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.ID: key_id}))
            stale = [one for one in there if bytes(one[Attribute.VALUE]) != certificate]
            if len(stale) == len(there):
                session.create_object(objects.certificate_template(certificate, key_id, label))
            for one in stale:  # only now: whoever looks in between finds two, and never none
                one.destroy()
            return bool(stale) or not there

        return self.with_key(where, "stored a certificate", put, write=True)

    def inventory(self) -> tuple[Found, ...]:
        """Return every private key on the token. Raise a :class:`hsm.errors.TokenError`."""
        with self._session("listed the keys") as session:
            return tuple(self._described(key, session) for key in list(_private_keys(session, KeyUri())))

    # --- the token --------------------------------------------------------------------------------------------------

    def facts(self) -> TokenFacts:
        """Return what the token tells of itself; no PIN is needed. Raise a :class:`hsm.errors.TokenError`."""
        return facts_of(self._token(None, "asked what it is"))

    def capabilities(self) -> Capabilities:
        """Tell what the token can do, by the mechanisms it lists. Raise a :class:`hsm.errors.TokenError`."""
        slot = self._token(None, "asked what it can do").slot
        with meanings.reported(self.name, "asked what it can do"):
            limits = {one: _limits(slot, one) for one in slot.get_mechanisms() if isinstance(one, Mechanism)}
        return Capabilities(
            algorithms=mechanisms.makes(limits),
            schemes=mechanisms.schemes_of(SCHEMES, limits),
            ciphers=mechanisms.ciphers_of(CIPHERS, limits),
        )

    def log_in(self) -> None:
        """Give the PIN to the token once. Raise a :class:`hsm.errors.TokenError`."""
        with self._session("logged in"):
            pass

    def with_key(
        self,
        where: KeyUri,
        doing: str,
        work: Callable[[Any, Any], _T],
        *,
        write: bool = False,
        wrong: tuple[type[ckr.PKCS11Error], ...] = (),
    ) -> _T:
        """Let ``work`` have the private key that ``where`` names, and the session; for keys of this module."""
        with self._session(doing, serial=where.serial, write=write) as session:
            found = list(_private_keys(session, where))
            if len(found) != 1:
                raise self._not_one(where, len(found))
            try:
                return work(found[0], session)
            except wrong as error:
                if self._is_there(where.serial):
                    raise _Wrong from error
                raise

    def _opened(self, key: Any, session: Any) -> TokenKey:
        key_id, label = objects.attribute(key, Attribute.ID), objects.attribute(key, Attribute.LABEL)
        facts = facts_of(session.token)
        where = KeyUri(token=facts.label, serial=facts.serial, id=key_id and bytes(key_id), object=label or None)
        public = self._public_half(key, session)
        if public is None:
            raise KeyUnusable(
                f"the token does not tell the public half of the key {where}",
                remedy="store its public key or its certificate beside it, with the same CKA_ID",
            )
        try:
            kind = kind_of(public)
        except Unsuitable as unsuitable:
            raise KeyUnusable(f"the key {where} is {unsuitable}", remedy="use another key") from unsuitable
        able = session.token.slot.get_mechanisms()
        return TokenKey(
            self,
            where,
            public,
            Kind(
                algorithm=kind.algorithm,
                schemes=mechanisms.schemes_of(kind.schemes, able),
                ciphers=mechanisms.ciphers_of(kind.ciphers, able),
                agrees=kind.agrees and Mechanism.ECDH1_DERIVE in able,
                legacy=kind.legacy,
            ),
        )

    def _public_half(self, key: Any, session: Any) -> PublicKeyTypes | None:
        beside = []
        if key_id := objects.attribute(key, Attribute.ID):
            for kind in (ObjectClass.PUBLIC_KEY, ObjectClass.CERTIFICATE):
                beside += list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: bytes(key_id)}))
        try:
            return next((told for one in (*beside, key) if (told := objects.public_key(one)) is not None), None)
        except ValueError as error:
            raise KeyUnusable(
                f"what stands beside a key on the token {self.name} is damaged: {error}",
                remedy="remove it with pkcs11-tool, and store it again",
            ) from error

    def _described(self, key: Any, session: Any) -> Found:
        key_id, label = objects.attribute(key, Attribute.ID), objects.attribute(key, Attribute.LABEL)
        facts = facts_of(session.token)
        where = KeyUri(token=facts.label, serial=facts.serial, id=key_id and bytes(key_id), object=label or None)
        algorithm = certificate = None
        try:
            public = self._public_half(key, session)
            algorithm = kind_of(public).algorithm if public is not None else None
        except (KeyUnusable, Unsuitable):
            pass  # it is listed all the same
        if key_id:
            beside = {Attribute.CLASS: ObjectClass.CERTIFICATE, Attribute.ID: bytes(key_id)}
            certificate = next((bytes(one[Attribute.VALUE]) for one in list(session.get_objects(beside))), None)
        return Found(
            reference=str(where),
            label=label or "",
            ours=bool(key_id) and (label or "").startswith(OURS),
            algorithm=algorithm,
            certificate=certificate,
        )

    # --- sessions ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _session(self, doing: str, *, serial: str | None = None, write: bool = False) -> Iterator[Any]:
        """Open a session, logged in if there is a PIN; turn what the module reports into our errors."""
        token = self._token(serial, doing)
        try:
            session = self._logged_in(token, write=write)
            try:
                yield session
            finally:
                _close(session)
        except ckr.PKCS11Error as error:
            if isinstance(error, _SHIFTING) and not self._is_there(serial):
                raise self._gone(doing) from error
            raise meanings.translated(error, token=self.name, doing=doing) from error

    def _logged_in(self, token: Any, *, write: bool) -> Any:
        if self._pin is None:
            return token.open(rw=write)
        facts = facts_of(token)
        if not self._pin_is_good:
            self._demand_a_try(facts)
        try:
            pin = self._pin.decode()
        except UnicodeDecodeError:
            raise PinRefused(
                f"the PIN of the token {self.name} is not UTF-8", remedy="save the file with the PIN as plain text"
            ) from None
        try:
            session = token.open(rw=write, user_pin=pin)
        except ckr.UserAlreadyLoggedIn:
            session = token.open(rw=write)
        except (ckr.PinIncorrect, ckr.PinInvalid, ckr.PinLenRange):
            _close_all(self._address.module)
            self._pin_is_good = False
            self._remember_refusal(facts)
            raise
        if not self._pin_is_good:
            self._pin_is_good = True
            self._memory.accepted()
        return session

    def _demand_a_try(self, facts: TokenFacts) -> None:
        assert self._pin is not None  # noqa: S101 - asked by the caller
        if self._memory.was_refused(self._pin, facts.serial):
            raise PinRefused(
                f"the token {self.name} refused this PIN before; it is not tried again, lest the token locks",
                remedy=f"find out the user PIN of {self.name} and put it where the configuration says; when this one "
                f"is right after all, run 'enrollctl token probe {self.name}'",
            )
        if facts.pin_nearly_locked and not self._memory.insist:
            raise PinRefused(
                f"one more wrong PIN locks the token {self.name}, so none is tried without a person",
                remedy=f"make sure that the PIN is right, then run 'enrollctl token probe {self.name}'",
            )

    def _remember_refusal(self, facts: TokenFacts) -> None:
        assert self._pin is not None  # noqa: S101 - it was just refused
        try:
            self._memory.refused(self._pin, facts.serial)
        except OSError as error:
            raise PinRefused(
                f"the token {self.name} refuses the PIN, and that cannot be written down: {error.strerror}",
                remedy=f"stop enrolld before it tries again and the token locks; make {self._memory.path.parent} "
                "writable, and put the right PIN where the configuration says",
            ) from error

    def _token(self, serial: str | None, doing: str) -> Any:
        """Return the token, looked up anew. Raise a :class:`hsm.errors.TokenError`."""
        module = str(self._address.module)
        try:
            tokens = _tokens_at_once(module)
            if not any(self._is_meant(one, serial) for one in tokens):
                tokens = _tokens(_reinitialised(module))  # what was plugged in since is seen only then
        except ckr.PKCS11Error as error:
            bad = meanings.unloadable(module, error)
            if bad is not None:
                raise bad from error
            raise self._gone(doing, because=meanings.code_of(error)) from error
        meant = [one for one in tokens if self._is_meant(one, serial)]
        if len(meant) == 1:
            return meant[0]
        raise self._not_there([facts_of(one) for one in tokens], serial, many=bool(meant))

    def _is_meant(self, token: Any, serial: str | None) -> bool:
        facts = facts_of(token)
        wanted = {one for one in (serial, self._address.serial) if one is not None}
        return facts.initialised and facts.label == self._address.label and wanted <= {facts.serial}

    def _is_there(self, serial: str | None) -> bool:
        try:
            _reinitialised(str(self._address.module))
            self._token(serial, "looked for it")
        except (TokenAbsent, ckr.PKCS11Error):
            return False
        return True

    # --- what went wrong --------------------------------------------------------------------------------------------

    def _not_there(self, seen: list[TokenFacts], serial: str | None, *, many: bool) -> TokenAbsent:
        address = self._address
        if many:
            numbers = ", ".join(one.serial for one in seen if one.label == address.label)
            return TokenAbsent(
                f"several tokens have the label {address.label}: {numbers}",
                remedy=f"name the serial number of {self.name} in the configuration, under tokens.{self.name}.serial",
            )
        wanted = serial or address.serial
        others = [one.serial for one in seen if one.initialised and one.label == address.label]
        if others:
            return TokenAbsent(
                f"the token labelled {address.label} is another one: its serial number is {', '.join(others)}, and "
                f"{wanted} is wanted",
                remedy=f"plug in the token {wanted}; where a new token took its place for good, correct "
                f"tokens.{self.name}.serial and enroll again",
            )
        present = ", ".join(sorted(one.label for one in seen if one.initialised)) or "none"
        blank = "; one there is not initialised yet" if any(not one.initialised for one in seen) else ""
        return TokenAbsent(
            f"there is no token labelled {address.label} (present: {present}{blank})",
            remedy=f"plug in the token {self.name}, or correct its label; a new one is set up by "
            "'pkcs11-tool --init-token --label LABEL' (see docs/tokens.md)",
        )

    def _gone(self, doing: str, *, because: str = "") -> TokenAbsent:
        gone = ckr.DeviceRemoved(because)
        return TokenAbsent(
            str(meanings.translated(gone, token=self.name, doing=doing)) + (f" ({because})" if because else ""),
            remedy=meanings.translated(gone, token=self.name, doing=doing).remedy,
        )

    def _not_one(self, where: KeyUri, count: int) -> KeyNotFound | KeyUnusable:
        if count:
            return KeyUnusable(f"{count} keys are called {where}", remedy="add the key's id= to the URI")
        return KeyNotFound(
            f"there is no key {where} on the token {self.name}",
            remedy=f"see what 'enrollctl token list' shows; a key that was destroyed cannot be brought back: enroll "
            f"again, with the vendor's certificate or a new secret (was {self.name} initialised anew?)",
        )

    def _cannot_make(self, algorithm: KeyAlgorithm, able: tuple[KeyAlgorithm, ...]) -> UnsupportedAlgorithm:
        return UnsupportedAlgorithm(
            f"token {self.name} cannot make {algorithm}; it can make {', '.join(able) or 'no keys at all'}",
            remedy="choose one of these for key.algorithm, or another store",
        )


# --- the module -----------------------------------------------------------------------------------------------------


def facts_of(token: Any) -> TokenFacts:
    """Return what a token tells of itself."""
    flags = TokenFlag(int(token.flags))
    return TokenFacts(
        label=token.label,
        serial=token.serial.decode("ascii", "replace").strip(" \0"),
        manufacturer=token.manufacturer_id,
        model=token.model,
        initialised=TokenFlag.TOKEN_INITIALIZED in flags,
        write_protected=TokenFlag.WRITE_PROTECTED in flags,
        pin_is_set=TokenFlag.USER_PIN_INITIALIZED in flags,
        pin_locked=TokenFlag.USER_PIN_LOCKED in flags,
        pin_nearly_locked=TokenFlag.USER_PIN_FINAL_TRY in flags,
    )


def tokens_behind(module: Path) -> tuple[TokenFacts, ...]:
    """Return every token that a module shows. Raise a :class:`hsm.errors.TokenError`."""
    try:
        return tuple(facts_of(one) for one in _tokens(pkcs11.lib(str(module))))
    except ckr.PKCS11Error as error:
        bad = meanings.unloadable(str(module), error)
        raise bad or meanings.translated(error, token=str(module), doing="asked for its tokens") from error


def _tokens(library: Any) -> list[Any]:
    found = []
    for slot in library.get_slots(token_present=True):
        try:
            found.append(slot.get_token())
        except (ckr.TokenNotPresent, ckr.TokenNotRecognised):  # pulled out this moment, or an empty reader
            continue
    return found


def _tokens_at_once(module: str) -> list[Any]:
    """Return the tokens the module knows of; none where what it knows is out of date."""
    library = pkcs11.lib(module)
    try:
        return _tokens(library)
    except ckr.PKCS11Error:
        return []  # whoever asked looks again, with a module that starts afresh


def _reinitialised(module: str) -> Any:
    library = pkcs11.lib(module)
    library.reinitialize()
    return library


def _close(session: Any) -> None:
    with suppress(ckr.PKCS11Error):  # the token is gone, and its sessions with it
        session.close()


def _close_all(module: Path) -> None:
    """Leave no session behind: the library hands out none when the login fails, but the module keeps it."""
    with suppress(ckr.PKCS11Error):  # the refusal of the PIN is what is reported
        _reinitialised(str(module))


def _limits(slot: Any, mechanism: Mechanism) -> tuple[int, int]:
    try:
        info = slot.get_mechanism_info(mechanism)
    except ckr.MechanismInvalid:
        return 0, 0
    return info.min_key_length, info.max_key_length


def _private_keys(session: Any, where: KeyUri) -> Iterator[Any]:
    wanted: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.PRIVATE_KEY}
    if where.id is not None:
        wanted[Attribute.ID] = where.id
    if where.object is not None:
        wanted[Attribute.LABEL] = where.object
    yield from list(session.get_objects(wanted))


def _make(session: Any, how: mechanisms.Recipe, where: KeyUri) -> None:
    common = {"store": True, "id": where.id, "label": where.object}
    if not how.parameters:
        private = _PRIVATE | {Attribute.DECRYPT: True}
        session.generate_keypair(how.key_type, how.bits, public_template=_PUBLIC, private_template=private, **common)
        return
    agrees = how.key_type is KeyType.EC and Mechanism.ECDH1_DERIVE in session.token.slot.get_mechanisms()
    # Those that agree where the token lets them; some let a key sign only.
    uses = ({Attribute.DERIVE: True}, {}) if agrees else ({},)
    last: ckr.PKCS11Error | None = None
    for parameters in how.parameters:
        for use in uses:
            domain = session.create_domain_parameters(how.key_type, {Attribute.EC_PARAMS: parameters}, local=True)
            try:
                domain.generate_keypair(
                    mechanism=how.mechanism, public_template=_PUBLIC, private_template=_PRIVATE | use, **common
                )
            except (
                ckr.AttributeValueInvalid,
                ckr.AttributeTypeInvalid,
                ckr.DomainParamsInvalid,
                ckr.TemplateInconsistent,
            ) as error:
                last = error
            else:
                return
    assert last is not None  # noqa: S101 - there is at least one form
    raise last


def _signed(key: Any, how: mechanisms.Operation) -> bytes:
    return bytes(key.sign(how.data, mechanism=how.mechanism, mechanism_param=how.parameter))


def _derived(key: Any, point: bytes, size: int) -> bytes:
    template = {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True, Attribute.TOKEN: False}
    secret = key.derive_key(
        KeyType.GENERIC_SECRET,
        size * 8,
        mechanism=Mechanism.ECDH1_DERIVE,
        mechanism_param=(KDF.NULL, None, point),
        template=template,
    )
    return bytes(secret[Attribute.VALUE]).rjust(size, b"\0")
