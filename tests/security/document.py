"""docs/security.md from the claims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.conformance.collected import ROOT
from tests.security.claims import ATTACKERS, PROCESSES, SUPPLY, Claim

DOCUMENT: Final = ROOT / "docs" / "security.md"

_ABOUT: Final = """\
What enrolld holds against whom, and what it does not. Written by `python -m tests.security` from
`tests/security/claims.py`; do not edit. Every claim names the tests that show it; `make test` runs them, and fails when
one does not exist.

Worth protecting: private keys, the one-time secret, PINs, the choice of whom to trust, and that the site keeps a valid
certificate. Trusted are the operator's roots, the kernel, root, and the CA within its own names."""

_WHO: Final = """\
| who | may |
| --- | --- |
| root | everything: it starts and stops the service and reads every file |
| user `enrolld` | use keys and secrets, write the state directory, speak to the CA and to consumers |
| group of the service | ask enrolld how identities are; what drop-ins grant (a vici socket, a consumer's directory) |
| consumers (IKE daemon, web server) | read the credential that is delivered to them |
| the CA | issue within the names asked for, refuse, delay, revoke; announce a successor of its root |
| everybody else | see that enrolld runs |"""

_CHECKS: Final = """\
Known vulnerabilities are looked up against a service on the internet (`pip-audit -r .ci/requirements.lock`). That
service cannot be reached from where this was built, so **no such check is part of `make test`**: run it where you ship
from, on the lock file and the list of `make sbom`."""

_NOT: Final = """\
- Keys in software are as safe as the disk and root are.
- Memory of a worker is not wiped: Python cannot promise that. It lives for one job.
- A CA that its operator lost control of can issue anything within the names that the device asks for.
- What builds the package (pip, hatchling, setuptools) is pinned by its version, and not by the hashes of its files.
- Quirks (configuration.md) each weaken one check; each says so in the journal when it is used."""


def document() -> str:
    """Return the text of the file."""
    parts = ["# Security", _ABOUT, "## Who may do what", _WHO, "## What each process can reach", _list(PROCESSES)]
    for one in ATTACKERS:
        parts += [f"## {one.title}", one.has, _list(one.claims), f"**What he gets all the same.** {one.gets}"]
    parts += ["## Supply chain", _list(SUPPLY), _CHECKS, "## What is not claimed", _NOT]
    return "\n\n".join(parts) + "\n"


def _list(claims: Sequence[Claim]) -> str:
    lines = []
    for claim in claims:
        lines += [f"- {claim.text}", *(f"  - `{one}`" for one in claim.tests)]
    return "\n".join(lines)
