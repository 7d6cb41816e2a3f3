"""What proves who is who: trust anchors, the bootstrap's secret or certificate, the certificate in use and its key."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agent import RELEASED
from agent.cli.checks.registry import Finding, Scope, Site, check, failed, ok, skipped, warning
from agent.overview import Overview, look
from agent.policy import clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.cmp.certificates import Facts
    from agent.settings import SharedSecretSettings, VendorCertificateSettings
    from agent.store.generations import Generation

# The protocol and cryptography are imported where they are used: a machine without network is told so first.
# ruff: noqa: PLC0415

_SOON: Final = timedelta(days=90)
"""A root that ends within this needs its successor now: the operator's people need time."""
_TODAY: Final = timedelta(days=1)
_CREDENTIAL_STORES: Final = (
    "/etc/credstore.encrypted", "/etc/credstore", "/run/credstore.encrypted", "/run/credstore",
    "/usr/lib/credstore.encrypted", "/usr/lib/credstore",
)  # fmt: skip
"""Where systemd looks for credentials by itself (systemd.exec(5), LoadCredential=)."""


@check("trust-anchors", Scope.AUTHORITY)
def trust_anchors(site: Site, name: str) -> Finding:
    """The roots we trust can be read, are valid, and will be for a while."""
    from agent.cmp.certificates import load, read, signature_verifies
    from agent.store.authorities import AuthorityStore
    from agent.worker.originator import certificates_in

    settings = site.given()
    paths = settings.authorities[name].trust_anchors
    if paths is None:
        return ok("learned from the first answer of the CA, strict from then on")
    found = [one for path in paths for one in certificates_in(path, "the trust anchor file")]
    if os.access(settings.state_directory, os.R_OK | os.X_OK):
        found += AuthorityStore(settings.state_directory, name).trust_anchors
    roots = [read(load(one)) for one in dict.fromkeys(found)]
    for root in roots:
        if root.self_issued and not signature_verifies(root, root):
            return failed(f"{root.who} is damaged: its signature is wrong", "Copy the operator's root file again.")
    return _ends(roots, site.now, "ask the operator for its successor and add it to `trust-anchors`")


def _ends(roots: Sequence[Facts], now: datetime, remedy: str) -> Finding:
    valid = [root for root in roots if root.not_before <= now < root.not_after]
    sentence = remedy[0].upper() + remedy[1:] + "."
    if not valid:
        late = max(roots, key=lambda root: root.not_after)
        if late.not_before > now:
            return failed(f"{late.who} is valid from {late.not_before:%Y-%m-%d} only", "Check the clock.")
        return failed(f"{late.who} expired on {late.not_after:%Y-%m-%d}", f"Check the clock; if right: {remedy}.")
    last = max(valid, key=lambda root: root.not_after)
    if last.not_after - now < _SOON:
        return warning(f"{last.who} ends on {last.not_after:%Y-%m-%d}", sentence)
    gone = [root for root in roots if root not in valid]
    many = f"{len(valid)} roots, the last until" if valid[1:] else f"{last.who} until"
    beside = f"; {len(gone)} expired beside it" if gone else ""
    return ok(f"{many} {last.not_after:%Y-%m-%d}{beside}")


@check("bootstrap", Scope.IDENTITY)
def bootstrap(site: Site, name: str) -> Finding:
    """The one-time secret, or the vendor's certificate with key and chain, is there and usable."""
    means = site.identities[name].bootstrap
    if means.vendor_certificate is not None:
        return _vendor(means.vendor_certificate, site.now)
    assert means.shared_secret is not None  # noqa: S101 - the configuration has exactly one of the two
    finding = _secret(site, means.shared_secret)
    seen = _seen(site, name)
    if finding.status.value in {"failed", "warning"} and seen is not None and seen.usable:
        return skipped("not needed while the certificate is valid; renewal is signed with its key")
    return finding


def _secret(site: Site, means: SharedSecretSettings) -> Finding:
    from agent.cli.checks.secret_files import fault_of

    kind, _, value = means.secret.partition(":")
    match kind:
        case "prompt":
            return skipped(f"the secret for reference {means.reference} is typed in by a person")
        case "credential":
            return passed_by_systemd(value, "secret")
    return fault_of(site, means.secret) or ok(f"a secret for reference {means.reference} is in {value}")


def passed_by_systemd(name: str, noun: str) -> Finding:
    """Return whether systemd has the credential ``name`` to pass; ``noun`` is what it holds."""
    given = os.environ.get("CREDENTIALS_DIRECTORY")
    if given and Path(given, name).exists():
        return ok(f"systemd passes the credential {name}")
    for store in _CREDENTIAL_STORES:
        try:
            if Path(store, name).exists():
                return ok(f"{store}/{name} is there for systemd to pass")
        except OSError:
            return skipped(f"whether {store}/{name} exists is hidden from this user; use sudo")
    return warning(
        f"no credential store of systemd holds {name}",
        f"Run 'systemd-creds encrypt --name={name} - /etc/credstore.encrypted/{name}' and type the {noun}, "
        "or see that a drop-in of the unit loads it from elsewhere.",
    )


def _vendor(means: VendorCertificateSettings, now: datetime) -> Finding:
    from agent.cmp.certificates import load, read, same_public_key, signature_verifies
    from agent.worker.originator import certificates_in, key_reference
    from hsm.errors import KeyStoreError
    from hsm.software import SoftwareKeyStore

    own, *rest = certificates_in(means.certificate, "the vendor certificate")
    rest += certificates_in(means.chain, "the vendor chain") if means.chain else ()
    facts, chain = read(load(own)), [read(load(one)) for one in rest]
    if not facts.not_before <= now < facts.not_after:
        until = f"{facts.not_before:%Y-%m-%d} to {facts.not_after:%Y-%m-%d}"
        return failed(
            f"the vendor's certificate is valid {until}", "Check the clock; if right, ask the vendor for a new one."
        )
    if not means.key.startswith("pkcs11:"):
        try:
            key = SoftwareKeyStore(means.certificate.parent).find(key_reference(means.key))
        except KeyStoreError as error:
            return failed(str(error), error.remedy)
        if not same_public_key(facts.spki, key.public_key):
            return failed(
                f"{means.key} is not the key of {means.certificate}", "Put key and certificate of one device there."
            )
    last = facts
    while (issuer := next((one for one in chain if one.subject_key == last.issuer_key), None)) and issuer is not last:
        if not signature_verifies(last, issuer):
            return failed(
                f"{issuer.who} in the vendor's chain did not sign {last.who}", "Ask the vendor for the right chain."
            )
        last = issuer
    return ok(f"{facts.who} until {facts.not_after:%Y-%m-%d}, chain up to {last.who}")


@check("certificate", Scope.IDENTITY, needs=("configuration", "state-directory"))
def certificate(site: Site, name: str) -> Finding:  # noqa: PLR0911 - one finding a line
    """The certificate in use is valid, and will be renewed in time."""
    seen = _seen(site, name)
    damaged = seen is not None and seen.state == "damaged"
    if seen is None or (seen.not_after is None and not damaged):
        return skipped("none is installed yet")
    enroll = f"Run 'enrollctl enroll {name}'."
    if damaged:
        return failed(f"damaged: {seen.last_error}", seen.remedy or enroll)
    if seen.not_after is None or seen.state == "revoked":
        return failed("it was revoked", enroll)
    end = datetime.fromisoformat(seen.not_after)
    left = end - site.now
    if seen.state == "not-yet-valid":
        return failed(seen.last_error or "it is not valid yet", seen.remedy or "Set the clock.")
    if left <= timedelta(0):
        return failed(f"it expired on {end:%Y-%m-%d %H:%M} UTC", f"Check the clock; if right: {enroll}")
    if left < _TODAY:
        return warning(f"it expires today, at {end:%Y-%m-%d %H:%M} UTC", f"Run 'enrollctl renew {name}' now.")
    if seen.state in {"due", "expiring"}:
        return warning(f"its renewal is due; it ends on {end:%Y-%m-%d}", f"Run 'enrollctl renew {name}'.")
    return ok(f"{seen.subject} until {end:%Y-%m-%d}")


@check("last-attempt", Scope.IDENTITY, needs=("configuration", "state-directory"))
def last_attempt(site: Site, name: str) -> Finding:
    """The last attempt went well, or its request is open and goes on."""
    seen = _seen(site, name)
    if seen is None:
        return skipped("nothing was tried yet")
    if seen.last_error is not None and seen.failed_at is not None:
        return (warning if seen.usable else failed)(seen.last_error, seen.remedy or "See 'journalctl -u enrolld'.")
    if seen.open_request is not None:
        return warning(
            f"a request is open ({seen.open_state})", "Ask the CA's operator if it lasts longer than he promised."
        )
    return ok("nothing went wrong") if seen.generation is not None else skipped("nothing was tried yet")


@check("key", Scope.IDENTITY, needs=("configuration", "state-directory", "certificate"))
def key(site: Site, name: str) -> Finding:
    """The private key is there and belongs to the certificate."""
    from agent.cmp.certificates import load, read, same_public_key
    from hsm.errors import KeyStoreError
    from hsm.software import SoftwareKeyStore

    current = _current(site, name)
    if current is None:
        return skipped("no certificate is installed yet")
    reference = current.key_reference
    if reference.startswith("pkcs11:"):
        return skipped("it is on a token, which is used only in a process of its own")
    try:
        found = SoftwareKeyStore(site.given().state_directory).find(reference)
    except KeyStoreError as error:
        return failed(str(error), error.remedy)
    if not same_public_key(read(load(current.certificate)).spki, found.public_key):
        return failed(
            "key and certificate do not belong together", f"Run 'enrollctl rollback {name}', or enroll again."
        )
    return ok("belongs to the certificate")


@check("chain", Scope.IDENTITY, needs=("configuration", "state-directory", "trust-anchors", "certificate"))
def chain(site: Site, name: str) -> Finding:
    """The certificate leads to a trust anchor of the operator."""
    from agent.cmp.certificates import load, load_all, read
    from agent.cmp.profiles import PROFILES
    from agent.cmp.trust import UntrustedPath, build_path

    current = _current(site, name)
    if current is None:
        return skipped("no certificate is installed yet")
    authority = site.given().authorities[site.identities[name].authority]
    anchors = load_all(current.trust_anchors)
    try:
        path = build_path(
            load(current.certificate),
            intermediates=load_all(current.chain),
            anchors=anchors,
            at=site.now,
            rules=PROFILES[authority.profile.value].algorithms,
            clock_trusted=clock.assess(site.now, build_time=RELEASED) is clock.ClockState.TRUSTED,
        )
    except UntrustedPath as error:
        return failed(str(error), error.remedy)
    return ok(f"{len(path)} certificates up to {read(path[-1]).who}")


def _seen(site: Site, name: str) -> Overview | None:
    """Return what the state directory says; None where it cannot be read, which another check reports."""
    settings = site.given()
    if not os.access(settings.state_directory, os.R_OK | os.X_OK):
        return None
    return look(settings.state_directory, name, site.identities[name], now=site.now)


def _current(site: Site, name: str) -> Generation | None:
    from agent.store.generations import IdentityStore

    return IdentityStore(site.given().state_directory, name).current
