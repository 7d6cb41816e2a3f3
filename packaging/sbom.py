"""Write dist/enrolld.cdx.json: what enrolld brings along, as CycloneDX 1.6 (https://cyclonedx.org).

Names, licences and who needs whom are those of the packages installed here; versions and hashes are those of
.ci/requirements.lock. The same inputs give the same octets, so that two lists can be compared.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from dataclasses import dataclass
from importlib.metadata import distribution, requires
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / ".ci" / "requirements.lock"
_OURS: Final = "enrolld"


@dataclass(frozen=True)
class Locked:
    """One package of the lock file: its version and the SHA-256 of each file that may be installed."""

    version: str
    hashes: tuple[str, ...]


def normal(name: str) -> str:
    """Return a package's name as the index knows it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(text: str) -> dict[str, Locked]:
    """Return the packages of a lock file by their normal names."""
    found = {}
    for entry in re.split(r"\n(?=\S)", text):
        head = re.match(r"(\S+)==(\S+)", entry)
        if head:
            hashes = tuple(sorted(re.findall(r"--hash=sha256:([0-9a-f]{64})", entry)))
            found[normal(head[1])] = Locked(head[2], hashes)
    return found


def needs(name: str) -> list[str]:
    """Return what an installed package needs at all times; extras and other platforms left aside."""
    found = set()
    for requirement in requires(name) or ():
        what, _, marker = requirement.partition(";")
        match = re.match(r"[A-Za-z0-9._-]+", what)
        name_needed = normal(match[0]) if match else ""
        if name_needed and "extra" not in marker and (not marker or name_needed in _LOCKED):
            found.add(name_needed)
    return sorted(found)


def everything() -> list[str]:
    """Return our package and all it needs, directly or not, by name; ours first."""
    names, open_ = {_OURS}, [_OURS]
    while open_:
        new = [one for one in needs(open_.pop()) if one not in names and one in _LOCKED]
        names.update(new)
        open_ += new
    return [_OURS, *sorted(names - {_OURS})]


_LOCKED: Final = locked(LOCK.read_text())


def bill() -> dict[str, Any]:
    """Return the document."""
    names = everything()
    components = [_component(name) for name in names]
    identity = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components, sort_keys=True))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{identity}",
        "version": 1,
        "metadata": {"component": components[0]},
        "components": components[1:],
        "dependencies": [
            {"ref": _reference(name), "dependsOn": [_reference(one) for one in needs(name) if one in names]}
            for name in names
        ],
    }


def _version(name: str) -> str:
    return distribution(name).version if name == _OURS else _LOCKED[name].version


def _reference(name: str) -> str:
    return f"pkg:pypi/{name}@{_version(name)}"


def _component(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "application" if name == _OURS else "library",
        "bom-ref": _reference(name),
        "name": name,
        "version": _version(name),
        "purl": _reference(name),
        "licenses": _licence(name),
    }
    if name != _OURS:
        # Which of its files is installed depends on Python and machine: all of them are listed.
        found["externalReferences"] = [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{name}/{_version(name)}/",
                "hashes": [{"alg": "SHA-256", "content": one} for one in _LOCKED[name].hashes],
            }
        ]
    return found


def _licence(name: str) -> list[dict[str, Any]]:
    metadata = distribution(name).metadata
    if "License-Expression" in metadata:
        return [{"expression": metadata["License-Expression"]}]
    classifiers = [one.rpartition(" :: ")[2] for one in metadata.get_all("Classifier", []) if one.startswith("License")]
    words = classifiers or [next(iter(metadata.get_all("License", ["not stated"]))).partition("\n")[0]]
    return [{"license": {"name": one}} for one in words]


def main() -> int:
    """Write the file and say where."""
    target = ROOT / "dist" / "enrolld.cdx.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(bill(), indent=2) + "\n")
    sys.stdout.write(f"{target.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
