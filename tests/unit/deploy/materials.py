"""Credentials that are real enough for a consumer: keys, certificates and chains made here."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from agent.deploy.material import Material
from agent.deploy.target import Change, Hands
from agent.labca import pki
from agent.labca.certificates import Credential
from agent.labca.keys import KeyKind

NOW = datetime(2026, 11, 1, tzinfo=UTC)


@cache
def authorities() -> pki.Pki:
    return pki.make(KeyKind.EC_P256, NOW)


@cache
def device(number: int) -> Credential:
    return pki.make_device(authorities(), f"device {number}", NOW)


def material(number: int = 1, *, chain: int = 1, token: bool = False) -> Material:
    """Make a credential; each number has a key of its own. ``chain`` is how many certificates stand above."""
    return Material(
        number=number,
        path=Path(f"/nowhere/generations/{number:06d}"),
        certificate=device(number).certificate,
        chain=tuple(authorities().chain[:1] * chain),
        trust_anchors=(authorities().vendor_root.certificate,),
        private_key=None if token else device(number).key.pem(),
        key_reference="pkcs11:token=enb;id=%10%01" if token else f"file:///nowhere/{number}",
        serial=f"{number:x}",
        not_after="2027-01-01T00:00:00+00:00",
    )


def change(number: int = 1, previous: int | None = None, **details: Any) -> Change:
    return Change(new=material(number), previous=None if previous is None else material(previous), **details)


def hands(said: list[str] | None = None, secret: bytes = b"geheim") -> Hands:
    lines = [] if said is None else said
    return Hands(identity="ike", say=lines.append, read_secret=lambda _: secret, read_pin=lambda _: secret)
