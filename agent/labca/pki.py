"""The lab's authorities: root, issuing CA, RA, vendor root, and a stranger for misbehaviour. Made once, then loaded.

On disk every role is ``pki/<role>.pem`` and ``pki/<role>.key``; what other programs need (``root.pem``, ``chain.pem``,
``vendor-root.pem``) stands beside the folder. The folder appears by one rename: an interrupted first start leaves
nothing half made.
"""

from __future__ import annotations

import os
import secrets
import shutil
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from agent.cmp import der, names
from agent.errors import StateError
from agent.frozen import frozen
from agent.labca import certificates
from agent.labca.certificates import (
    CMC_RA,
    Credential,
    authority_extensions,
    crl_distribution_point,
    end_entity_extensions,
    plan_for,
    sign,
)
from agent.labca.keys import KeyKind, LabKey
from agent.labca.settings import ROOT_CRL

if TYPE_CHECKING:
    from pathlib import Path

    from agent.labca.encoding import Extension

_FOLDER: Final = "pki"
_LIFE: Final = timedelta(days=3650)
_BACKDATE: Final = timedelta(days=1)
"""A device whose clock is a little slow must still find its CA valid."""


@frozen
class RootUpdate:
    """A prepared change of the root (RFC 9810 4.4): the new root, and each root certified by the other."""

    new: Credential
    new_with_old: bytes
    old_with_new: bytes

    def content(self) -> bytes:
        """Return the DER of RootCaKeyUpdateContent (RFC 9810 5.3.19.15)."""
        return der.wrap(
            der.SEQUENCE, self.new.certificate, der.wrap(0xA0, self.new_with_old), der.wrap(0xA1, self.old_with_new)
        )


@frozen(kw_only=True)
class Pki:
    """All credentials of the lab. ``issuing`` is the root itself where no CA stands between."""

    root: Credential
    issuing: Credential
    ra: Credential
    """Protects answers; its certificate carries the extended key usage cmcRA (RFC 9483 3.4)."""
    vendor_root: Credential
    bystander: Credential
    """Another device's valid certificate: it chains to the root, but may speak for nobody."""
    other_root: Credential
    other_ra: Credential
    """An RA under another root, with the right extended key usage and the wrong anchor."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """The certificates between an issued certificate and the root, DER."""
        return () if self.issuing is self.root else (self.issuing.certificate,)

    @property
    def has_intermediate(self) -> bool:
        """Tell whether an issuing CA stands below the root."""
        return self.issuing is not self.root


_ROLES: Final = ("root", "issuing", "ra", "vendor_root", "bystander", "other_root", "other_ra")


def make(
    kind: KeyKind,
    now: datetime,
    *,
    intermediate: bool = True,
    scheme: str | None = None,
    crl_base: str | None = None,
) -> Pki:
    """Make a new PKI with keys of ``kind``; its names carry a random mark, so two labs never look the same.

    ``scheme``: what root, issuing CA and RA sign with; None for the best their keys can. ``crl_base``: the URL of the
    issuing CA's CRL, to stand in the certificates below the root; None leaves it out.
    """
    by_root = (crl_distribution_point(f"{crl_base}{ROOT_CRL}"),) if crl_base else ()
    by_issuing = (crl_distribution_point(crl_base),) if crl_base and intermediate else by_root
    mark = secrets.token_hex(3)
    start = now - _BACKDATE
    root = _authority(f"CN=enrolld Lab Root CA {mark},O=enrolld Lab", LabKey.generate(kind, scheme), start)
    issuing = root
    if intermediate:
        name = f"CN=enrolld Lab Issuing CA {mark},O=enrolld Lab"
        issuing = _authority(name, LabKey.generate(kind, scheme), start, root, by_root)
    other_root = _authority(f"CN=Stranger Root CA {mark},O=Stranger", LabKey.generate(), start)
    return Pki(
        root=root,
        issuing=issuing,
        ra=_end_entity(
            f"CN=enrolld Lab RA {mark},O=enrolld Lab",
            issuing,
            LabKey.generate(kind, scheme),
            start,
            root,
            CMC_RA,
            add=by_issuing,
        ),
        vendor_root=_authority(f"CN=Vendor Root CA {mark},O=Vendor", LabKey.generate(), start),
        bystander=_end_entity(f"CN=another-device-{mark},O=enrolld Lab", issuing, LabKey.generate(), start, root),
        other_root=other_root,
        other_ra=_end_entity(
            f"CN=Stranger RA {mark},O=Stranger", other_root, LabKey.generate(), start, other_root, CMC_RA
        ),
    )


def load_or_make(
    directory: Path,
    kind: KeyKind,
    now: datetime,
    *,
    intermediate: bool = True,
    scheme: str | None = None,
    crl_base: str | None = None,
) -> Pki:
    """Load the PKI kept in ``directory``, or make one and keep it there. An existing one is never changed.

    ``scheme`` as for :func:`make`; of an existing PKI it says how its keys sign from now on.

    Raises:
        StateError: when the directory cannot be written, or what is in it cannot be read.
        ConfigurationError: when the keys cannot sign with ``scheme``.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        folder = directory / _FOLDER
        if not folder.is_dir():
            _store(make(kind, now, intermediate=intermediate, scheme=scheme, crl_base=crl_base), folder)
        pki = _load(folder, scheme)
        _export(pki, directory)
    except (OSError, ValueError) as error:
        raise StateError(
            f"the lab CA cannot use its directory {directory}: {error}",
            remedy="Give it a directory it may write to, or delete a damaged one: it is made anew.",
        ) from error
    return pki


def make_root_update(pki: Pki, kind: KeyKind, now: datetime, scheme: str | None = None) -> RootUpdate:
    """Make a new root, and cross-certify it with the present one; ``scheme``: what the new key signs with."""
    new = _authority(names.text_of(pki.root.subject), LabKey.generate(kind, scheme), certificates.whole_seconds(now))
    old_plan = _authority_plan(pki.root.subject, pki.root.key, now - _BACKDATE)
    new_plan = _authority_plan(new.subject, new.key, now)
    return RootUpdate(new, sign(new_plan, pki.root), sign(old_plan, new))


def keep_root_update(directory: Path, update: RootUpdate) -> None:
    """Write ``update`` to ``directory``, public parts and key."""
    for name, octets in (
        ("root-new", update.new.certificate),
        ("root-new-with-old", update.new_with_old),
        ("root-old-with-new", update.old_with_new),
    ):
        (directory / f"{name}.pem").write_bytes(pem(octets))
    _write_private(directory / _FOLDER / "root-new.key", update.new.key.pem())


def load_root_update(directory: Path) -> RootUpdate | None:
    """Return the update kept in ``directory``; None when none was prepared."""
    key = directory / _FOLDER / "root-new.key"
    if not key.is_file():
        return None
    new, new_with_old, old_with_new = (
        _read_certificate(directory / f"{name}.pem") for name in ("root-new", "root-new-with-old", "root-old-with-new")
    )
    return RootUpdate(Credential(new, LabKey.from_pem(key.read_bytes())), new_with_old, old_with_new)


def make_device(
    pki: Pki,
    name: str,
    now: datetime,
    *,
    key: LabKey | None = None,
    life: timedelta = _LIFE,
    issuer: Credential | None = None,
) -> Credential:
    """Make a vendor certificate as a device has it from the factory; ``issuer`` defaults to the vendor's root.

    Another issuer comes along as chain: a root of its own is then one nobody here knows.
    """
    issuer = issuer or pki.vendor_root
    key = key or LabKey.generate()
    plan = plan_for(names.name_from_text(f"CN={name},O=Vendor"), key, now, life, end_entity_extensions())
    return Credential(sign(plan, issuer), key, () if issuer is pki.vendor_root else (issuer.certificate,))


def make_vendor_intermediate(pki: Pki, now: datetime) -> Credential:
    """Make a CA below the vendor's root, for devices whose chain has more than one link."""
    return _authority("CN=Vendor Issuing CA,O=Vendor", LabKey.generate(), now - _BACKDATE, pki.vendor_root)


def pem(certificate: bytes) -> bytes:
    """Return a DER certificate as PEM."""
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


def _authority_plan(subject: bytes, key: LabKey, start: datetime) -> certificates.Plan:
    return plan_for(subject, key, start, _LIFE, authority_extensions())


def _authority(
    name: str, key: LabKey, start: datetime, issuer: Credential | None = None, add: tuple[Extension, ...] = ()
) -> Credential:
    plan = _authority_plan(names.name_from_text(name), key, start)
    if issuer is not None:
        plan = replace(plan, extensions=(*authority_extensions(path_length=0), *add))
    return Credential(sign(plan, issuer, key), key)


def _end_entity(
    name: str,
    issuer: Credential,
    key: LabKey,
    start: datetime,
    root: Credential,
    *usages: str,
    add: tuple[Extension, ...] = (),
) -> Credential:
    plan = plan_for(names.name_from_text(name), key, start, _LIFE, (*end_entity_extensions(*usages), *add))
    return Credential(sign(plan, issuer), key, () if issuer is root else (issuer.certificate,))


def _store(pki: Pki, folder: Path) -> None:
    building = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(mode=0o700)
    for role in _ROLES:
        credential: Credential = getattr(pki, role)
        if role == "issuing" and not pki.has_intermediate:
            continue
        (building / f"{role}.pem").write_bytes(credential.pem)
        _write_private(building / f"{role}.key", credential.key.pem())
    building.rename(folder)


def _load(folder: Path, scheme: str | None) -> Pki:
    def credential(role: str, *chain: bytes, scheme: str | None = None) -> Credential:
        key = LabKey.from_pem((folder / f"{role}.key").read_bytes(), scheme)
        return Credential(_read_certificate(folder / f"{role}.pem"), key, chain)

    root = credential("root", scheme=scheme)
    issuing = credential("issuing", scheme=scheme) if (folder / "issuing.pem").is_file() else root
    chain = () if issuing is root else (issuing.certificate,)
    return Pki(
        root=root,
        issuing=issuing,
        ra=credential("ra", *chain, scheme=scheme),
        vendor_root=credential("vendor_root"),
        bystander=credential("bystander", *chain),
        other_root=credential("other_root"),
        other_ra=credential("other_ra"),
    )


def _export(pki: Pki, directory: Path) -> None:
    exports = {
        "root.pem": (pki.root.certificate,),
        "chain.pem": (*pki.chain, pki.root.certificate),
        "ra.pem": (pki.ra.certificate,),
        "vendor-root.pem": (pki.vendor_root.certificate,),
    }
    if pki.has_intermediate:
        exports["issuing.pem"] = (pki.issuing.certificate,)
    for name, members in exports.items():
        octets = b"".join(pem(member) for member in members)
        path = directory / name
        if not path.is_file() or path.read_bytes() != octets:
            path.write_bytes(octets)


def _read_certificate(path: Path) -> bytes:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_bytes(Encoding.DER)


def _write_private(path: Path, octets: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
