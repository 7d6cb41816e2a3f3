"""No core file: keys and secrets are in the memory of our processes, and a vendor's library may crash in it."""

from __future__ import annotations

_ONE_OCTET = 1
"""Too little for any core file, and the one limit at which Linux starts no program either to which ``core_pattern``
pipes it: such a program is given everything at a limit of 0, and need not look at it (core(5))."""


def prevent() -> None:
    """Have this process, and those it starts, leave none."""
    from resource import RLIMIT_CORE, getrlimit, setrlimit  # noqa: PLC0415 - modules that name this one start nothing

    _, most = getrlimit(RLIMIT_CORE)
    limit = 0 if most == 0 else _ONE_OCTET
    setrlimit(RLIMIT_CORE, (limit, limit))
