"""A control group for each booted machine.

Left to itself nspawn puts every machine into the same one, and then a unit has the processes of its namesake in another
machine in it: it cannot be killed, and does not end.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


class ControlGroup:
    """One below that of this process."""

    def __init__(self, name: str) -> None:
        """Make it."""
        mounts = [line.split()[1:4] for line in Path("/proc/self/mounts").read_text().splitlines()]
        ours = [line for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::/")]
        self._place = Path(ours[0].removeprefix("0::/"), name)
        unified = next(Path(where) for where, kind, _ in mounts if kind == "cgroup2")
        # Where there are the hierarchies of old, too, nspawn makes the same folders in systemd's.
        older = (Path(where) for where, _, options in mounts if "name=systemd" in options.split(","))
        self._hierarchies = (unified, *older)
        self._path = unified / self._place
        self._path.mkdir()

    @property
    def command(self) -> tuple[str, ...]:
        """What a command that is to run in it begins with."""
        return ("sh", "-euc", 'echo $$ >"$0"; exec "$@"', str(self._path / "cgroup.procs"))

    def remove(self) -> None:
        """Remove it, once nothing runs in it any more."""
        for hierarchy in self._hierarchies:
            root = hierarchy / self._place
            for path in sorted((root, *root.rglob("*/")), reverse=True):
                with suppress(OSError):  # it is not there, or the kernel has not yet forgotten its last process
                    path.rmdir()
