"""What can be configured, as frozen dataclasses: the one table behind the YAML file, its schema and its manual.

Every field carries its explanation (``doc``), bounds where it has any, and an ``example`` where the default does not
show the form. The loader (``agent.config``), the JSON Schema, the commented example file and the manual are all made
from here. Field names are kebab-case in YAML. This module imports nothing heavy: worker and supervisor both use it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from agent.settings.algorithms import (
    ExtendedKeyUsage,
    HashName,
    HmacName,
    KeyAlgorithm,
    KeyUsage,
    MacAlgorithm,
    SignatureName,
)
from agent.settings.authority import (
    AnchorSource,
    AuthoritySettings,
    CrlSettings,
    EnrollmentAnchorsSettings,
    HttpSettings,
    MacSettings,
    PollingSettings,
    ProfileName,
    Quirk,
    RevocationCheck,
)
from agent.settings.declaring import (
    NAME,
    SOFTWARE,
    Format,
    section,
    setting,
)
from agent.settings.delivery import (
    DeployTarget,
    DirectoryTarget,
    FileNames,
    HookTarget,
    Layout,
    OnFailure,
    StrongswanTarget,
    Switching,
)
from agent.settings.identity import (
    BootstrapSettings,
    IdentitySettings,
    KeySettings,
    RenewalContents,
    RenewalKey,
    RenewalMethod,
    RenewalSettings,
    RequestType,
    SharedSecretSettings,
    VendorCertificateSettings,
)

__all__ = [
    "EXACTLY_ONE",
    "NAME",
    "SOFTWARE",
    "AnchorSource",
    "AuthoritySettings",
    "BootstrapSettings",
    "CrlSettings",
    "DaemonSettings",
    "DeployTarget",
    "DirectoryTarget",
    "EnrollmentAnchorsSettings",
    "ExtendedKeyUsage",
    "FileNames",
    "Format",
    "HashName",
    "HmacName",
    "HookTarget",
    "HttpSettings",
    "IdentitySettings",
    "KeyAlgorithm",
    "KeySettings",
    "KeyUsage",
    "Layout",
    "MacAlgorithm",
    "MacSettings",
    "OnFailure",
    "PollingSettings",
    "ProfileName",
    "Quirk",
    "RecordingSettings",
    "RenewalContents",
    "RenewalKey",
    "RenewalMethod",
    "RenewalSettings",
    "RequestType",
    "RevocationCheck",
    "Settings",
    "SharedSecretSettings",
    "SignatureName",
    "StrongswanTarget",
    "Switching",
    "TokenSettings",
    "VendorCertificateSettings",
    "section",
    "setting",
]


@section
class TokenSettings:
    """A PKCS#11 token that holds keys."""

    module: Path = setting("the vendor's PKCS#11 module, a shared object", example="/usr/lib/softhsm/libsofthsm2.so")
    label: str = setting("label of the token", example="enb")
    serial: str | None = setting(
        "serial number of the token, where several have the same label", default=None, example="1f2843585a9029db"
    )
    pin: str = setting(
        "where the PIN comes from; never the PIN itself",
        example="credential:hsm-pin",
        format=Format.SECRET_SOURCE,
    )
    retire_after: float = setting(
        "how long a key stays on the token after its successor is in use; until then 'enrollctl rollback' can go back",
        default=604_800.0,
        format=Format.DURATION,
        bounds=(0, 31_536_000),
    )


@section
class RecordingSettings:
    """Messages kept for a support bundle (``enrollctl capture``), without what a secret made in them."""

    transactions: int = setting(
        "how many of the last transactions of each identity are kept; 0 keeps none", default=0, bounds=(0, 100)
    )
    maximum: int = setting(
        "octets that the kept messages of one identity may take", default=1_048_576, bounds=(16_384, 67_108_864)
    )


@section
class DaemonSettings:
    """How the daemon works."""

    workers: int = setting("how many jobs run at a time", default=2, bounds=(1, 64))
    metrics: Path | None = setting(
        "where to write figures for Prometheus, as a file for node_exporter's textfile collector",
        default=None,
        example="/var/lib/prometheus/node-exporter/enrolld.prom",
    )
    worker_memory: int = setting(
        "MiB of memory that one job may address; one that wants more fails alone", default=1024, bounds=(256, 65_536)
    )


@section
class Settings:
    """What enrolld does: one file for all of it."""

    state_directory: Path = setting("credentials and open transactions", default=Path("/var/lib/enrolld"))
    runtime_directory: Path = setting("sockets and locks", default=Path("/run/enrolld"))
    authorities: dict[str, AuthoritySettings] = setting("CAs and RAs, by name", example="operator")
    identities: dict[str, IdentitySettings] = setting("certificates to keep alive, by name", example="ike")
    tokens: dict[str, TokenSettings] = setting("PKCS#11 tokens, by name", factory=dict, example="hsm")
    recording: RecordingSettings = setting("messages kept for a support bundle", factory=RecordingSettings)
    daemon: DaemonSettings = setting("how the daemon works", factory=DaemonSettings)


EXACTLY_ONE: Final[frozenset[type]] = frozenset({BootstrapSettings, DeployTarget})
"""Sections of which exactly one key is given: the others are alternatives to it."""
