"""Keys on a PKCS#11 token, through python-pkcs11. Private keys are made there and never leave it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pkcs11 import Attribute, Mechanism, ObjectClass
from pkcs11 import exceptions as ckr

from hsm import ckr as meanings
from hsm import making, mechanisms, objects, uri
from hsm.algorithms import CIPHERS, SCHEMES, KeyAlgorithm
from hsm.errors import KeyExists, KeyNotFound, KeyPermissions, KeyUnusable, UnsupportedAlgorithm
from hsm.keystore import Capabilities
from hsm.kinds import Kind, Unsuitable, kind_of
from hsm.module import TokenAddress, TokenFacts, facts_of, limits
from hsm.sessions import Sessions, private_keys
from hsm.tokenkey import TokenKey
from hsm.uri import OURS, KeyUri

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

    from hsm.pinmemory import PinMemory

_ID_OCTETS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A private key on the token, with what stands beside it. ``ours``: made by us."""

    reference: str
    label: str
    ours: bool
    algorithm: KeyAlgorithm | None
    certificate: bytes | None = field(default=None, repr=False)


class TokenKeyStore:
    """The keys of one token. It is loaded, and the PIN tried, at the first operation."""

    def __init__(self, address: TokenAddress, pin: bytes | None, memory: PinMemory) -> None:
        """Keep where the token is; ``pin`` is None where only what is public is asked for."""
        self._sessions = Sessions(address, pin, memory)

    @property
    def name(self) -> str:
        """What people call the token."""
        return self._sessions.name

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
        with self._sessions.opened(doing, serial=where.serial, write=True) as session:
            if next(private_keys(session, where), None) is not None:
                raise KeyExists(f"there is a key {place} already", remedy="nothing was changed; try again")
            try:
                making.make(session, how, where)
            except (
                ckr.MechanismInvalid,
                ckr.KeySizeRange,
                ckr.DomainParamsInvalid,
                ckr.AttributeValueInvalid,
            ) as error:
                others = tuple(one for one in able if one is not algorithm)
                raise self._cannot_make(algorithm, others) from error
            self._demand_locked(session, where)
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
        return self._sessions.with_key(where, "looked for a key", self._opened)

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
        self._sessions.demand_pin()  # without one the private half is not even seen
        with self._sessions.opened("destroyed a key", serial=where.serial, write=True) as session:
            objects.destroy_pair(session, where.id)

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

        return self._sessions.with_key(where, "stored a certificate", put, write=True)

    def inventory(self) -> tuple[Found, ...]:
        """Return every private key on the token. Raise a :class:`hsm.errors.TokenError`."""
        with self._sessions.opened("listed the keys") as session:
            return tuple(self._described(key, session) for key in list(private_keys(session, KeyUri())))

    # --- the token --------------------------------------------------------------------------------------------------

    def facts(self) -> TokenFacts:
        """Return what the token tells of itself; no PIN is needed. Raise a :class:`hsm.errors.TokenError`."""
        return facts_of(self._sessions.token(None, "asked what it is"))

    def capabilities(self) -> Capabilities:
        """Tell what the token can do, by the mechanisms it lists. Raise a :class:`hsm.errors.TokenError`."""
        slot = self._sessions.token(None, "asked what it can do").slot
        with meanings.reported(self.name, "asked what it can do"):
            told = {one: limits(slot, one) for one in slot.get_mechanisms() if isinstance(one, Mechanism)}
        return Capabilities(
            algorithms=mechanisms.makes(told),
            schemes=mechanisms.schemes_of(SCHEMES, told),
            ciphers=mechanisms.ciphers_of(CIPHERS, told),
        )

    def log_in(self) -> None:
        """Give the PIN to the token once. Raise a :class:`hsm.errors.TokenError`."""
        with self._sessions.opened("logged in"):
            pass

    def _demand_locked(self, session: Any, where: KeyUri) -> None:
        """Destroy a new key that the token would give out, whatever was asked of it, and refuse it."""
        for key in private_keys(session, where):
            given_out = objects.attribute(key, Attribute.EXTRACTABLE), objects.attribute(key, Attribute.SENSITIVE)
            if given_out[0] is True or given_out[1] is False:
                objects.destroy_pair(session, where.id)
                raise KeyUnusable(
                    f"the token {self.name} made a key whose private half can be read, though it was told not to",
                    remedy="use another token, and tell the vendor; that key was destroyed and never used",
                )

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
            self._sessions,
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

    def _cannot_make(self, algorithm: KeyAlgorithm, able: tuple[KeyAlgorithm, ...]) -> UnsupportedAlgorithm:
        return UnsupportedAlgorithm(
            f"token {self.name} cannot make {algorithm}; it can make {', '.join(able) or 'no keys at all'}",
            remedy="choose one of these for key.algorithm, or another store",
        )
