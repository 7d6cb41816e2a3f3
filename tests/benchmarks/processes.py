"""What a running process costs, from ``/proc``: memory, wake-ups, CPU. Times are in seconds, sizes in KiB."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NANOSECONDS: Final = 1e9
_QUIET: Final = 1.0
"""Seconds without any CPU after which a process counts as quiet."""


@dataclass(frozen=True, slots=True)
class Memory:
    """``pss``: its share of what it has mapped; ``private``: what is its alone; ``rss``: all that is resident."""

    pss: int
    private: int
    rss: int


def parse_smaps(text: str, *, alone: str = "\0") -> Memory:
    """Return the sum of ``/proc/PID/smaps``.

    A mapping whose file has ``alone`` in its path counts in full: as if no other process of this machine used it too.
    """
    pss = private = rss = 0
    path, sizes = "", {"Rss": 0, "Pss": 0, "Private_Clean": 0, "Private_Dirty": 0}
    for line in [*text.splitlines(), "0-0 end"]:
        key, _, value = line.partition(":")
        if " " not in key:
            if key in sizes:
                sizes[key] = int(value.split()[0])
            continue
        pss += sizes["Rss"] if alone in path else sizes["Pss"]
        private += sizes["Private_Clean"] + sizes["Private_Dirty"]
        rss += sizes["Rss"]
        # The first line of a mapping: addresses, rights, offset, device, inode, path.
        path, sizes = line.partition("/")[2], dict.fromkeys(sizes, 0)
    return Memory(pss, private, rss)


def memory(pid: int) -> Memory:
    """Return what ``pid`` occupies; the interpreter counts in full, though this benchmark runs on it too."""
    return parse_smaps(Path(f"/proc/{pid}/smaps").read_text(), alone="python")


def parse_switches(status: str) -> int:
    """Return the voluntary context switches of one ``/proc/PID/task/TID/status``: how often it began to wait."""
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("voluntary_ctxt_switches:"))


def switches(pid: int) -> int:
    """Return how often the threads of ``pid`` began to wait, which is how often they were woken up."""
    return sum(parse_switches(one.read_text()) for one in Path(f"/proc/{pid}/task").glob("*/status"))


def cpu(pid: int) -> float:
    """Return the seconds that the threads of ``pid`` have run, to the nanosecond; its children do not count."""
    return sum(int(one.read_text().split()[0]) for one in Path(f"/proc/{pid}/task").glob("*/schedstat")) / _NANOSECONDS


def parse_family_cpu(stat: str, ticks: int) -> float:
    """Return the seconds of ``/proc/PID/stat`` that a process and its children that have ended have run."""
    # After the name, which may hold anything, the state is field 3; utime, stime, cutime and cstime are 14 to 17.
    fields = stat.rpartition(")")[2].split()
    return sum(int(one) for one in fields[11:15]) / ticks


def family_cpu(pid: int) -> float:
    """Return the seconds that ``pid``, its children and theirs have run, whether they have ended or not; to 10 ms."""
    living = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = parse_family_cpu(Path(f"/proc/{pid}/stat").read_text(), os.sysconf("SC_CLK_TCK"))
    return own + sum(family_cpu(int(one)) for one in living)


def until_quiet(pid: int, *, seconds: float = 300.0) -> None:
    """Wait until ``pid`` has done nothing for a second. Raise :class:`TimeoutError` after so many ``seconds``."""
    ends, before, since = time.monotonic() + seconds, -1.0, 0.0
    while (now := time.monotonic()) < ends:
        spent = cpu(pid)
        if spent != before:
            before, since = spent, now
        elif now - since > _QUIET:
            return
        time.sleep(0.05)
    raise TimeoutError(f"process {pid} was still busy after {seconds:.0f} s")
