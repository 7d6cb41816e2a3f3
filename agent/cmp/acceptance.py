"""What an end entity checks in a certificate it is given, before it says yes in certConf (RFC 9483 4.1.1, RFC 4211 5).

One table of named checks, run in order; the first objection ends it and becomes the rejection in certConf. All checks
compare with what was *asked for*, whether the CA said ``accepted`` or ``grantedWithMods``: the CA's word about its own
changes is no reason to look less closely.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from cryptography.x509 import Version

from agent.cmp.certificates import AlgorithmRules, Facts, load, read, same_public_key, when
from agent.cmp.errors import LocalError, MalformedMessage, defect
from agent.cmp.failures import PKIFailureInfo
from agent.cmp.name_keys import general_name_key, general_name_text, name_key, quoted
from agent.cmp.trust import Cause, UntrustedPath, build_path
from agent.frozen import frozen

if TYPE_CHECKING:
    from cryptography.x509 import Certificate, GeneralName, Name

DIGITAL_SIGNATURE: Final = frozenset({"digitalSignature"})
_ANY_EXTENDED_KEY_USAGE: Final = "2.5.29.37.0"
_ASK_OPERATOR: Final = "Give the CA's operator this message: the certificate profile of the CA must be corrected."


@frozen(kw_only=True)
class Expectation:
    """What was asked for and what is trusted; with it, :func:`examine` judges a certificate.

    ``public_key`` is the DER SubjectPublicKeyInfo of the request. ``subject_pattern`` is a regular expression for the
    whole RFC 4514 text of a subject the CA may give instead. ``key_usage`` has the RFC's names, ``extended_key_usage``
    dotted OIDs. ``anchors`` are the operator's, ``intermediates`` whatever came along. ``now`` is an aware time; with
    ``clock_trusted`` False it is the earliest it can be. ``old`` is the certificate being renewed.
    """

    public_key: bytes
    subject: Name
    alternative_names: frozenset[GeneralName] = frozenset()
    subject_pattern: str | None = None
    key_usage: frozenset[str] = DIGITAL_SIGNATURE
    extended_key_usage: frozenset[str] = frozenset()
    anchors: tuple[Certificate, ...]
    intermediates: tuple[Certificate, ...] = ()
    rules: AlgorithmRules
    now: datetime
    clock_trusted: bool = True
    skew: timedelta = timedelta(minutes=5)
    maximum_lifetime: timedelta | None = None
    old: Certificate | None = None
    granted_with_mods: bool = False


@frozen(kw_only=True)
class Accepted:
    """The certificate may be confirmed and installed.

    ``path`` leads from it to the anchor, both included. ``notes`` say what the CA changed within what is allowed: they
    belong into the journal.
    """

    certificate: Certificate
    path: tuple[Certificate, ...]
    notes: tuple[str, ...] = ()


@frozen(kw_only=True)
class Objection:
    """The certificate must be rejected: ``check`` is the row of the table, ``fail_info`` and ``text`` go to the CA."""

    check: str
    fail_info: PKIFailureInfo
    text: str
    remedy: str


@frozen
class Check:
    """One row: what is checked, the failInfo for certConf, and the function that returns (text, remedy) or None."""

    name: str
    fail_info: PKIFailureInfo
    objection: Callable[[Facts, Expectation], tuple[str, str] | None]


def examine(certificate_der: bytes, expectation: Expectation) -> Accepted | Objection:
    """Judge the certificate the CA gave us.

    Raises:
        LocalError: the expectation itself is unusable (key, pattern or old certificate); nothing else, whatever comes.
    """
    try:
        facts = read(load(certificate_der))
    except MalformedMessage as error:
        return Objection(
            check="readable", fail_info=PKIFailureInfo.BAD_DATA_FORMAT, text=str(error), remedy=error.remedy
        )
    for check in CHECKS:
        if found := check.objection(facts, expectation):
            text, remedy = found
            if expectation.granted_with_mods:
                text += " (the CA said that it changed the request)"
            return Objection(check=check.name, fail_info=check.fail_info, text=text, remedy=remedy)
    try:
        path = build_path(
            facts.certificate,
            intermediates=expectation.intermediates,
            anchors=expectation.anchors,
            at=expectation.now,
            rules=expectation.rules,
            clock_trusted=expectation.clock_trusted,
            skew=expectation.skew,
        )
    except UntrustedPath as error:
        fail_info = _PATH_FAILURES.get(error.cause, PKIFailureInfo.SIGNER_NOT_TRUSTED)
        return Objection(check="chain", fail_info=fail_info, text=str(error), remedy=error.remedy)
    if len(path) == 1:
        return Objection(
            check="chain",
            fail_info=PKIFailureInfo.INCORRECT_DATA,
            text=f"the new certificate {facts.who} is one of our trust anchors, not issued by one",
            remedy="Remove it from `trust-anchors` of the authority: only the operator's roots belong there.",
        )
    return Accepted(certificate=facts.certificate, path=path, notes=_notes(facts, expectation))


def _version(facts: Facts, _: Expectation) -> tuple[str, str] | None:
    if facts.version is Version.v3:
        return None
    return f"the certificate for {facts.who} is not of X.509 version 3", _ASK_OPERATOR


def _public_key(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    try:
        same = same_public_key(facts.spki, wanted.public_key)
    except MalformedMessage as error:
        raise defect("the public key that was asked for is no SubjectPublicKeyInfo") from error
    if same:
        return None
    old = wanted.old is not None and same_public_key(facts.spki, _old(wanted.old).spki)
    what = "the old key again" if old else "a key that is not ours"
    return (
        f"the certificate for {facts.who} certifies {what}",
        "Do not use it. Tell the CA's operator that it mixed up two requests; a new attempt is made later.",
    )


def _renewed(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    if wanted.old is None:
        return None
    old = _old(wanted.old)
    same_number = old.certificate.serial_number == facts.certificate.serial_number
    if not same_number or old.issuer_key != facts.issuer_key:
        return None
    return (
        f"the CA answered with the certificate we already have (serial number {old.certificate.serial_number:x})",
        "Ask the CA's operator whether renewal before expiry is allowed for this device.",
    )


def _subject(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    # The same name under RFC 5280 7.1: who tells names apart by letter case or string type breaks with peers anyway.
    if facts.subject_key == name_key(wanted.subject) or _matches_pattern(facts, wanted):
        return None
    text = f"the certificate is for {facts.who}, but {quoted(wanted.subject)} was asked for"
    if wanted.subject_pattern is not None:
        text += ", and the subject pattern does not match"
    return text, (
        "If the operator assigns the name, set `subject` or `subject-pattern` of the identity to it; if not, tell the "
        "CA's operator."
    )


def _alternative_names(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    present = {general_name_key(name) for name in facts.alternative_names}
    lacking = [name for name in wanted.alternative_names if general_name_key(name) not in present]
    if not lacking:
        return None
    return (
        f"the certificate for {facts.who} lacks the requested {', '.join(sorted(map(general_name_text, lacking)))}",
        "Have the CA's operator register these names, or remove them from `alternative-names` of the identity.",
    )


def _not_a_ca(facts: Facts, _: Expectation) -> tuple[str, str] | None:
    if not facts.is_ca:
        return None
    return f"the certificate for {facts.who} is that of a CA", _ASK_OPERATOR


def _key_usage(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    missing = sorted(wanted.key_usage - facts.key_usage) if facts.key_usage is not None else []
    if not missing:
        return None
    return f"the key usage of the certificate for {facts.who} lacks {', '.join(missing)}", _ASK_OPERATOR


def _extended_key_usage(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    usage = facts.extended_key_usage
    if usage is None or _ANY_EXTENDED_KEY_USAGE in usage:
        return None
    missing = sorted(wanted.extended_key_usage - usage)
    if not missing:
        return None
    return f"the extended key usage of the certificate for {facts.who} lacks {', '.join(missing)}", _ASK_OPERATOR


def _validity(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    """With an untrusted clock, only what no clock can change: an end after its start, and not in the known past."""
    start, end, now = facts.not_before, facts.not_after, wanted.now
    if end <= start:
        return f"the certificate ends ({when(end)}) before it begins ({when(start)})", _ASK_OPERATOR
    remedy = "Check this machine's clock; if it is right, tell the CA's operator that the CA's clock is wrong."
    if now >= end:
        least = "" if wanted.clock_trusted else "at least "
        return f"the certificate expired on {when(end)} already: it is {least}{when(now)} now", remedy
    if wanted.clock_trusted and now + wanted.skew < start:
        return f"the certificate begins only on {when(start)}: it is {when(now)} now", remedy
    return None


def _lifetime(facts: Facts, wanted: Expectation) -> tuple[str, str] | None:
    life = facts.not_after - facts.not_before
    if wanted.maximum_lifetime is None or life <= wanted.maximum_lifetime:
        return None
    return f"the certificate lives {life.days} days, more than {wanted.maximum_lifetime.days} allowed", _ASK_OPERATOR


CHECKS: Final = (
    Check("version", PKIFailureInfo.BAD_DATA_FORMAT, _version),
    Check("public-key", PKIFailureInfo.INCORRECT_DATA, _public_key),
    Check("renewed", PKIFailureInfo.INCORRECT_DATA, _renewed),
    Check("subject", PKIFailureInfo.INCORRECT_DATA, _subject),
    Check("alternative-names", PKIFailureInfo.INCORRECT_DATA, _alternative_names),
    Check("not-a-ca", PKIFailureInfo.UNACCEPTED_EXTENSION, _not_a_ca),
    Check("key-usage", PKIFailureInfo.UNACCEPTED_EXTENSION, _key_usage),
    Check("extended-key-usage", PKIFailureInfo.UNACCEPTED_EXTENSION, _extended_key_usage),
    Check("validity", PKIFailureInfo.BAD_TIME, _validity),
    Check("lifetime", PKIFailureInfo.BAD_TIME, _lifetime),
)
"""Before these comes "readable", after them "chain", which brings critical extensions and algorithms of every link."""

_PATH_FAILURES: Final = {
    Cause.EXPIRED: PKIFailureInfo.BAD_TIME,
    Cause.NOT_YET_VALID: PKIFailureInfo.BAD_TIME,
    Cause.WEAK: PKIFailureInfo.BAD_ALG,
    Cause.CRITICAL_EXTENSION: PKIFailureInfo.UNACCEPTED_EXTENSION,
}


def _notes(facts: Facts, wanted: Expectation) -> tuple[str, ...]:
    notes = []
    if facts.subject_key != name_key(wanted.subject):
        notes.append(f"the CA assigned the subject {facts.who} instead of {quoted(wanted.subject)}")
    asked = {general_name_key(name) for name in wanted.alternative_names}
    # Names on top are the CA's right and harm nobody here: to refuse them would cost the site its certificate.
    added = [general_name_text(name) for name in facts.alternative_names if general_name_key(name) not in asked]
    if added:
        notes.append(f"the CA added {', '.join(added)}")
    return tuple(notes)


def _matches_pattern(facts: Facts, wanted: Expectation) -> bool:
    if wanted.subject_pattern is None:
        return False
    try:
        return re.fullmatch(wanted.subject_pattern, facts.subject.rfc4514_string()) is not None
    except re.error as error:
        raise LocalError(
            f"the subject pattern is not a regular expression: {error}",
            remedy="Correct `subject-pattern` of the identity.",
        ) from error


def _old(certificate: Certificate) -> Facts:
    try:
        return read(certificate)
    except MalformedMessage as error:
        raise LocalError(
            f"the certificate to be renewed cannot be read: {error}",
            remedy="Enroll anew with the one-time secret or the vendor's certificate.",
        ) from error
