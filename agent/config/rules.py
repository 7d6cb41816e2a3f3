"""The rules across keys, as tables: what cannot work together, what is odd, and what this version does not do yet.

A row is one rule about one key. Its text continues the key, so that both read as a sentence, in a message as well as
in the manual, which is made from these tables too: ``identities.NAME.authority: must be the name of an authority``.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Final

from agent import units
from agent.config import deploy_rules, key_rules, renewal_rules
from agent.config.findings import choose
from agent.config.rulebook import Authority, Entry, Identity, Rule, RuleBook, apply
from agent.settings import (
    SOFTWARE,
    AnchorSource,
    AuthoritySettings,
    HashName,
    HmacName,
    ProfileName,
    RenewalKey,
    RequestType,
    Settings,
)
from hsm import uri
from hsm.errors import KeyNotFound

_SHA1_MACS: Final = (HmacName.HMAC_SHA1, HmacName.HMAC_SHA1_IETF)
_VOLATILE: Final = ("/run", "/var/run", "/dev/shm")  # noqa: S108 - named to warn about them
_WEAK_ITERATIONS: Final = 1000
_LABEL_OCTETS: Final = 32
_TWO_THIRDS: Final = 66


def _authority_of(one: Identity) -> AuthoritySettings | None:
    return one.settings.authorities.get(one.own.authority)


def _nearest_authority(one: Identity) -> str:
    return choose(one.own.authority, one.settings.authorities)


def _nearest_store(one: Identity) -> str:
    return choose(one.own.key.store, [SOFTWARE, *one.settings.tokens])


def _repeats(texts: Collection[str]) -> bool:
    return len(set(texts)) < len(texts)


def _learns_anchors_without_mac(one: Identity) -> bool:
    authority = _authority_of(one)
    return (
        authority is not None
        and authority.trust_anchors is None
        and authority.enrollment_anchors.source == AnchorSource.CA_PUBS
        and one.own.bootstrap.shared_secret is None
    )


def _learns_anchors_without_signature(one: Identity) -> bool:
    authority = _authority_of(one)
    return (
        authority is not None
        and authority.trust_anchors is None
        and authority.enrollment_anchors.source == AnchorSource.EXTRA_CERTS
        and (one.own.bootstrap.vendor_certificate is None or one.own.request != RequestType.IR)
    )


def _has_secret_against_3gpp(one: Identity) -> bool:
    authority = _authority_of(one)
    return (
        authority is not None
        and one.own.bootstrap.shared_secret is not None
        and authority.profile == ProfileName.THREE_GPP_STRICT
    )


def _trusts_whatever_comes(one: Authority) -> bool:
    own = one.own
    anchors = own.enrollment_anchors
    return (
        own.trust_anchors is None
        and anchors.source == AnchorSource.EXTRA_CERTS
        and not anchors.root_pins
        and not all(url.startswith("https:") for url in own.urls)
    )


def _shares_key(one: Identity) -> bool:
    """Tell whether another identity uses the same key made elsewhere, while this one leaves it at renewal."""
    key = one.own.key.existing
    return (
        key is not None
        and one.own.renewal.key == RenewalKey.NEW
        and any(other.key.existing == key for name, other in one.settings.identities.items() if name != one.name)
    )


def _is_volatile(one: Entry[Settings]) -> bool:
    return any(one.own.state_directory.is_relative_to(place) for place in _VOLATILE)


def _has_3gpp_secret(one: Identity) -> bool:
    authority = _authority_of(one)
    if authority is None or one.own.bootstrap.shared_secret is None:
        return False
    return authority.profile == ProfileName.THREE_GPP


def _unused(one: Authority) -> bool:
    return all(identity.authority != one.name for identity in one.settings.identities.values())


def _on_no_token(one: Identity, key: str | None) -> bool:
    """Tell whether ``key`` is the URI of a key on a token that is not configured."""
    if key is None or not uri.is_token_key(key):
        return False
    try:
        where = uri.parse(key)
    except KeyNotFound:
        return True
    labels = {token.label for token in one.settings.tokens.values()}
    return not where.names_a_key or not labels or where.token not in {None, *labels}


def _existing_on_no_token(one: Identity) -> bool:
    return _on_no_token(one, one.own.key.existing)


def _vendor_key_on_no_token(one: Identity) -> bool:
    vendor = one.own.bootstrap.vendor_certificate
    return vendor is not None and _on_no_token(one, vendor.key)


MISTAKES: Final = RuleBook(
    whole=(
        Rule(
            "runtime-directory",
            lambda one: one.own.runtime_directory == one.own.state_directory,
            "must not be the state directory: it is emptied at boot",
            "choose another one, such as /run/enrolld",
        ),
    ),
    authority=(
        Rule(
            "implicit-confirmation",
            lambda one: one.own.implicit_confirmation and one.own.profile != ProfileName.LIGHTWEIGHT,
            "is for profile lightweight only",
            "set it to false, or choose that profile",
        ),
        Rule(
            "mac.one-way-function",
            lambda one: one.own.mac.one_way_function == HashName.SHA1 and one.own.profile != ProfileName.BACKHAUL,
            "may be sha1 in profile backhaul only",
            "choose sha256",
        ),
        Rule(
            "http.tls-trust-anchors",
            lambda one: not one.own.http.tls_trust_anchors and any(url.startswith("https:") for url in one.own.urls),
            "is needed for an https URL",
            "name the PEM file of the CA that issued the server's TLS certificate, or use http: CMP protects itself",
        ),
        Rule(
            "http.tls-key",
            lambda one: one.own.http.tls_key is not None and one.own.http.tls_certificate is None,
            "needs tls-certificate",
            "name the client certificate that belongs to the key, or remove tls-key",
        ),
        Rule(
            "polling.maximum",
            lambda one: one.own.polling.maximum < one.own.polling.minimum,
            "must not be less than minimum",
            "raise it, or lower minimum",
        ),
        Rule(
            "polling.give-up-after",
            lambda one: one.own.polling.give_up_after < one.own.polling.minimum,
            "must not be less than minimum: nobody would ever ask",
            "raise it, or lower minimum",
        ),
        *key_rules.AUTHORITY_MISTAKES,
        Rule("urls", lambda one: _repeats(one.own.urls), "must not name an address twice", "remove one of the two"),
        Rule("pins", lambda one: _repeats(one.own.pins), "must not name a key twice", "remove one of the two"),
        Rule("quirks", lambda one: _repeats(one.own.quirks), "must not name a quirk twice", "remove one of the two"),
    ),
    identity=(
        Rule(
            "authority",
            lambda one: one.own.authority not in one.settings.authorities,
            "must be the name of an authority",
            _nearest_authority,
        ),
        Rule(
            "key.store",
            lambda one: one.own.key.store != SOFTWARE and one.own.key.store not in one.settings.tokens,
            "must be `software` or the name of a token",
            _nearest_store,
        ),
        Rule(
            "key.existing",
            _existing_on_no_token,
            "must name a key (object= or id=) on a token that is configured under `tokens`",
            "add the token, with the label that the URI names",
        ),
        Rule(
            "bootstrap.vendor-certificate.key",
            _vendor_key_on_no_token,
            "must name a key (object= or id=) on a token that is configured under `tokens`",
            "add the token, with the label that the URI names",
        ),
        Rule(
            "bootstrap",
            _learns_anchors_without_mac,
            "must be a shared secret when the authority has `trust-anchors: enrollment`",
            "name the root certificates in trust-anchors, or use shared-secret; a vendor's certificate needs "
            "enrollment-anchors.source: extra-certs",
        ),
        Rule(
            "bootstrap",
            _learns_anchors_without_signature,
            "must be a vendor's certificate, with an ir, when the authority learns its root from extraCerts",
            "choose enrollment-anchors.source: ca-pubs for a shared secret, or name the root in trust-anchors",
        ),
        Rule(
            "bootstrap.shared-secret",
            _has_secret_against_3gpp,
            "must not be used with an authority of profile 3gpp-strict: TS 33.310 knows signatures only",
            "use vendor-certificate, or profile 3gpp",
        ),
        Rule(
            "alternative-names",
            lambda one: _repeats(one.own.alternative_names),
            "must not name anything twice",
            "remove one of the two",
        ),
        *renewal_rules.MISTAKES,
        *key_rules.IDENTITY_MISTAKES,
    ),
    target=deploy_rules.MISTAKES,
    token=(
        Rule(
            "",
            lambda one: one.name == SOFTWARE,
            "must not be called software: that is the store for keys in files",
            "choose another name",
        ),
        Rule(
            "label",
            lambda one: len(one.own.label.encode()) > _LABEL_OCTETS,
            "must not be longer than 32 octets (PKCS#11)",
            "copy the label that `pkcs11-tool --list-slots` shows",
        ),
    ),
)
"""What is refused."""

WARNINGS: Final = RuleBook(
    whole=(
        Rule(
            "state-directory",
            _is_volatile,
            "is in a place that is emptied at boot, and every key and certificate with it",
            "choose a place that stays, such as /var/lib/enrolld",
        ),
        Rule(
            "identities",
            lambda one: not one.own.identities,
            "is empty, so there is nothing to do",
            "add an identity; the examples show one for each deployment",
        ),
    ),
    authority=(
        Rule("", _unused, "is used by no identity", "name it in an identity, or remove it"),
        Rule(
            "enrollment-anchors.source",
            _trusts_whatever_comes,
            "believes the root that comes along with the first answer: whoever is on the way then can pose as the "
            "operator for good",
            "name the root in trust-anchors, or its key in enrollment-anchors.root-pins, or use https",
        ),
        Rule(
            "enrollment-anchors.source",
            lambda one: (
                one.own.trust_anchors is not None and one.own.enrollment_anchors.source == AnchorSource.EXTRA_CERTS
            ),
            "changes nothing beside trust anchors that are named",
            "remove it, or set trust-anchors to `enrollment`",
        ),
        Rule(
            "mac.mac",
            lambda one: one.own.mac.mac in _SHA1_MACS and one.own.profile != ProfileName.BACKHAUL,
            "uses SHA-1, which only old servers still need",
            "choose hmac-sha256, unless the server refuses it",
        ),
        Rule(
            "mac.iterations",
            lambda one: one.own.mac.iterations < _WEAK_ITERATIONS,
            "is so low that a short secret can be guessed from one recorded message",
            "choose 10000, unless the server refuses it",
        ),
        Rule(
            "quirks",
            lambda one: bool(one.own.quirks),
            "weakens the checks of what this authority answers",
            "remove each one that the server no longer needs",
        ),
        *key_rules.AUTHORITY_WARNINGS,
    ),
    identity=(
        Rule(
            "bootstrap.shared-secret",
            _has_3gpp_secret,
            "is not what profile 3gpp describes: TS 33.310 has base stations prove themselves by a vendor certificate",
            "keep it only if the operator's RA asks for it",
        ),
        Rule(
            "key.existing",
            _shares_key,
            "is the key of another identity too; renewal with a new key parts them",
            "give each identity its own key, or set renewal.key to same",
        ),
        Rule(
            "renewal.at",
            lambda one: units.percent(one.own.renewal.at) < _TWO_THIRDS,
            "is sooner than two thirds of the life, and counts as two thirds",
            "write 66% or more",
        ),
        *renewal_rules.WARNINGS,
        *key_rules.IDENTITY_WARNINGS,
    ),
    target=deploy_rules.WARNINGS,
)
"""What is allowed, and probably not meant."""

UNSUPPORTED: Final = RuleBook()
"""What the file may say and this version does not do. Rows leave this table as features arrive."""

WEIGHTS: Final = {"Refused": MISTAKES, "Warned about": WARNINGS, "Not yet acted on": UNSUPPORTED}
"""The tables by what becomes of a broken rule, for the manual."""

mistakes = partial(apply, MISTAKES)
warnings = partial(apply, WARNINGS)
unsupported = partial(apply, UNSUPPORTED)
