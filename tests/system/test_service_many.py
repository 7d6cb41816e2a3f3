"""Under systemd many identities are enrolled at once: nothing in the unit keeps workers from being forked."""

from __future__ import annotations

import os
from typing import Any

import pytest

from agent.events import Event
from tests.system.site import Site

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can boot a machine")

NAMES = [f"cell-{number}" for number in range(8)]
FORKING = "agent.worker.forking"
HOOK = """\
#!/bin/sh
test "$(umask)" = 0077 -a -n "$ENROLLD_SERIAL" && ! read -r line
"""


def identity(name: str) -> dict[str, Any]:
    return {
        "authority": "lab",
        "subject": f"CN={name},O=Operator",
        "bootstrap": {"shared-secret": {"reference": "enb-4711", "secret": "credential:ike-secret"}},
        "deploy": [{"hook": {"command": ["/usr/local/libexec/tell"]}}],
    }


def forking(site: Site) -> list[str]:
    """Return what runs of those that fork workers or were forked."""
    lines = site.run("ps", "-eo", "args=").stdout.splitlines()
    return [one for one in lines if FORKING in one]


def test_many_are_enrolled_by_workers_that_are_forked_in_the_unit() -> None:
    with Site(installed=True) as site:
        site.start_ca()
        site.write("/usr/local/libexec/tell", HOOK, 0o755)
        site.configure(identities={name: identity(name) for name in NAMES}, daemon={"workers": len(NAMES)})
        site.start()
        site.hear(Event.INSTALLED, times=len(NAMES))
        site.hear(Event.DEPLOYED, times=len(NAMES))
        assert any(FORKING in entry.get("_CMDLINE", "") for entry in site.said())  # which journald has from the kernel
        site.systemctl("stop", "enrolld")
        assert forking(site) == []
        said = [one["MESSAGE"] for one in site.entries(None, "UNIT=enrolld.service")]
        assert [one for one in said if "Killing" in one or "remains" in one] == []
        assert {one["MESSAGE_ID"] for one in site.said() if int(one["PRIORITY"]) <= 4} == set()
