"""Name constraints (RFC 5280 4.2.1.10): whether a CA may issue for the names in a certificate below it.

Applying every CA's own constraints to everything below it gives the same verdict as intersecting subtrees on the way
down (RFC 5280 6.1.3 b and c), and needs no state. What cannot be compared for certain is refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography import x509

from agent.cmp.name_keys import general_name_text, name_key

if TYPE_CHECKING:
    from agent.cmp.certificates import Facts

MAXIMUM_COMPARISONS: Final = 65_536
"""Names times subtrees; more is an attack on our time."""

_HOST_OF_URI: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://(?:[^/?#@\\]*@)?([a-z0-9._-]+)(?::[0-9]*)?(?:[/?#].*)?", re.IGNORECASE | re.DOTALL
)


def violation(issuer: Facts, below: Facts) -> str | None:
    """Say which name of ``below`` the constraints of ``issuer`` forbid; None when they allow all or there are none."""
    constraints = issuer.name_constraints
    if constraints is None:
        return None
    # The library drops minimum and maximum; what does not come back octet by octet had one (RFC 5280 forbids both).
    if constraints.public_bytes() not in issuer.certificate.tbs_certificate_bytes:
        return f"the name constraints of {issuer.who} have a form that is not supported"
    permitted, excluded = constraints.permitted_subtrees or [], constraints.excluded_subtrees or []
    names = tuple(_names(below))
    if len(names) * (len(permitted) + len(excluded)) > MAXIMUM_COMPARISONS:
        return f"{below.who} has too many names for the name constraints of {issuer.who}"
    for name in names:
        verdict = _verdict(name, *([one for one in part if name.has_form_of(one)] for part in (permitted, excluded)))
        if verdict:
            return f"{issuer.who} may not issue for {name.text}: {verdict}"
    return None


class _Name(NamedTuple):
    """One name to judge; ``value`` as the library gives it for this form."""

    form: type[x509.GeneralName]
    value: Any
    text: str

    def has_form_of(self, subtree: x509.GeneralName) -> bool:
        """Whether ``subtree`` speaks about names of this form (otherName: of this type)."""
        if isinstance(subtree, x509.OtherName):
            return self.form is x509.OtherName and self.value == subtree.type_id
        return self.form is type(subtree)


class _Incomparable(Exception):
    """The name or the subtree is written so that no certain answer exists; never leaves this module."""


def _names(facts: Facts) -> Iterator[_Name]:
    """Yield every name the constraints look at: the subject, mail addresses inside it, the alternative names."""
    if facts.subject.rdns:
        yield _Name(x509.DirectoryName, facts.subject, facts.who)
    for attribute in facts.subject.get_attributes_for_oid(x509.NameOID.EMAIL_ADDRESS):
        yield _Name(x509.RFC822Name, str(attribute.value), f"the mail address in {facts.who}")
    for name in facts.alternative_names:
        value = name.type_id if isinstance(name, x509.OtherName) else name.value
        yield _Name(type(name), value, general_name_text(name))


def _verdict(name: _Name, permitted: list[x509.GeneralName], excluded: list[x509.GeneralName]) -> str | None:
    if not permitted and not excluded:
        return None
    within = _WITHIN.get(name.form)
    if within is None:
        return "constraints on this form of name are not supported"
    try:
        if any(within(name.value, one.value) or _may_touch(name, one.value) for one in excluded):
            return "this is in an excluded subtree"
        if permitted and not any(within(name.value, one.value) for one in permitted):
            return "this is in no permitted subtree"
    except _Incomparable:
        return "this cannot be compared with the constraint"
    return None


def _may_touch(name: _Name, subtree: str) -> bool:
    """Whether a wildcard host name could stand for a host in a subtree below it."""
    if name.form is not x509.DNSName or "*" not in name.value:
        return False
    first, _, rest = _host(name.value).partition(".")
    if "*" in rest or "*" not in first:
        raise _Incomparable
    return f".{_host(subtree)}".endswith("." + rest)


def _host(text: str) -> str:
    return text.lower().removesuffix(".")


def _dns_within(name: str, subtree: str) -> bool:
    name, subtree = _host(name), _host(subtree)
    if not subtree or subtree.startswith("."):
        return name.endswith(subtree)
    return name == subtree or name.endswith("." + subtree)


def _email_within(name: str, subtree: str) -> bool:
    local, at, host = name.rpartition("@")
    if not (local and at and host):
        raise _Incomparable
    host, subtree_host = _host(host), _host(subtree)
    if not subtree or subtree.startswith("."):
        return host.endswith(subtree_host)
    wanted, at, mailbox_host = subtree.rpartition("@")
    return (local == wanted and host == _host(mailbox_host)) if at else host == subtree_host


def _uri_within(name: str, subtree: str) -> bool:
    match = _HOST_OF_URI.fullmatch(name)
    if match is None or _is_address(match[1]):
        raise _Incomparable  # RFC 5280: a URI without a host name is refused where a constraint applies
    host, subtree = _host(match[1]), _host(subtree)
    return host.endswith(subtree) if not subtree or subtree.startswith(".") else host == subtree


def _is_address(host: str) -> bool:
    return host.rpartition(".")[2].isdigit()


def _address_within(name: Any, subtree: Any) -> bool:
    if not isinstance(name, ipaddress.IPv4Address | ipaddress.IPv6Address):
        raise _Incomparable
    return name in subtree


def _directory_within(name: x509.Name, subtree: x509.Name) -> bool:
    wanted = name_key(subtree)
    return name_key(name)[: len(wanted)] == wanted


_WITHIN: Final[dict[type[x509.GeneralName], Callable[[Any, Any], bool]]] = {
    x509.DirectoryName: _directory_within,
    x509.DNSName: _dns_within,
    x509.IPAddress: _address_within,
    x509.RFC822Name: _email_within,
    x509.UniformResourceIdentifier: _uri_within,
}
