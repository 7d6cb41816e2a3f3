from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sbom() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sbom", ROOT / "packaging" / "sbom.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["sbom"] = module  # where dataclasses looks
    spec.loader.exec_module(module)
    return module


def constraints() -> dict[str, str]:
    lines = (ROOT / ".ci" / "constraints.txt").read_text().splitlines()
    return {re.sub(r"[-_.]+", "-", name).lower(): pin for name, _, pin in (one.partition("==") for one in lines) if pin}


def test_everything_that_runs_is_locked_by_hash_at_the_version_that_is_tested(sbom: ModuleType) -> None:
    found = sbom.locked((ROOT / ".ci" / "requirements.lock").read_text())
    needed, seen = sbom.needs("enrolld"), set()
    while needed:
        name = needed.pop()
        if name not in seen:
            seen.add(name)
            needed += sbom.needs(name)
    assert seen == set(found), "write it anew with .ci/lock"
    pinned = constraints()
    for name, one in found.items():
        assert one.hashes
        assert one.version == pinned[name] == version(name)


def test_the_bill_of_materials_names_each_package_with_licence_and_hashes(sbom: ModuleType) -> None:
    bill = sbom.bill()
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "enrolld")
    names = {one["name"] for one in bill["components"]}
    assert names == set(sbom.locked((ROOT / ".ci" / "requirements.lock").read_text()))
    for one in bill["components"]:
        assert one["licenses"]
        assert "not stated" not in str(one["licenses"])
        assert one["externalReferences"][0]["hashes"]
    references = {one["ref"] for one in bill["dependencies"]}
    assert all(set(one["dependsOn"]) <= references for one in bill["dependencies"])
    assert bill == sbom.bill()


def test_nothing_that_runs_has_a_licence_that_binds_those_who_ship_it(sbom: ModuleType) -> None:
    """LGPL is borne where the library is used as it is (systemd-python, pyudev); GPL and AGPL are not."""
    licences = {one["name"]: str(one["licenses"]) for one in sbom.bill()["components"]}
    bad = [
        name for name, text in licences.items() if re.search(r"\bA?GPL|General Public", text) and "esser" not in text
    ]
    assert [name for name in bad if "LGPL" not in licences[name]] == []


def test_a_wheel_that_is_built_twice_has_the_same_octets(tmp_path: Path) -> None:
    wheels = []
    for number in ("1", "2"):
        target = tmp_path / number
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", target],
            cwd=ROOT,
            env=os.environ | {"SOURCE_DATE_EPOCH": "1750000000", "PYTHONHASHSEED": number},
            check=True,
            capture_output=True,
        )
        (wheel,) = target.glob("*.whl")
        wheels.append(wheel.read_bytes())
    assert wheels[0] == wheels[1]
