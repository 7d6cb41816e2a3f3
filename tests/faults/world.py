"""What a fault happens to: one identity, one CA, the way between them, a clock, a disk, name service.

It runs in network and mount namespaces of its own (see ``__main__``), so that packets can really be dropped, names be
unknown and disks be full. Sleeping takes no time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import pytest

from agent.contract import Action, Job, Outcome
from agent.events import Event
from agent.labca import LabCa, LabCaSettings, running
from agent.labca.authority import Record
from agent.settings import AuthoritySettings, HttpSettings, IdentitySettings
from agent.store.generations import IdentityStore
from agent.supervisor.children import run_worker
from agent.supervisor.secrets import Secrets
from agent.worker.enrollment import perform
from agent.worker.environment import Environment
from agent.worker.reporting import Reporter
from tests.faults.proxy import Exchange, Proxy
from tests.unit.net.conftest import Pki
from tests.unit.worker.desk import SECRET, desk_at

HOST: Final = "ca.enrolld.test"
_HOSTS: Final = Path("/etc/hosts")
_ROOM: Final = "size=4m,mode=0700"
_DEADLINE: Final = 300.0
_CALM: Final = 25.0
"""Seconds within which an answer must come while nothing is broken: a busy machine is no fault."""


class _Teller(Reporter):
    """Says before each message which one it is."""

    def __init__(self, descriptor: int, before: Callable[[str], None]) -> None:
        super().__init__(descriptor, {"IDENTITY": "ike", "AUTHORITY": "lab"})
        self._before = before

    def tell(self, event: Event, fields: Any = None, **words: str) -> None:
        super().tell(event, fields, **words)
        if event is Event.SENT:
            self._before((fields or {})["CMP_MESSAGE"])


class World:
    """Everything at its best; faults spoil it through the methods below. A context manager."""

    def __init__(
        self,
        place: Path,
        *,
        polls: int = 0,
        tls: bool = False,
        small_disk: bool = False,
        faked_clock: bool = False,
    ) -> None:
        """Bring CA, proxy and a disk into being below ``place``, a new directory."""
        place.mkdir()
        self.place = place
        self._skew = timedelta()
        self._faked = faked_clock
        self.before: Callable[[str], None] = lambda _: None
        """Called with the name of each message just before it leaves."""
        self.handle: Callable[[Exchange], None] = pass_on
        """What happens to each message on its way."""
        self._slept = 0.0
        self._stack = ExitStack()
        self._serving = ExitStack()
        self._settings = LabCaSettings(
            directory=place / "ca", secrets={"enb": SECRET.decode()}, durable=False, polls=polls
        )
        self.ca = LabCa(self._settings)
        self._serving.enter_context(running(self.ca))
        self.proxy = self._stack.enter_context(Proxy(lambda: self.ca.url, self._pass))
        self.name_is_known(known=True)
        template = desk_at(self.ca, place / "ca" / "root.pem", place / "state").job
        if small_disk:
            self._stack.enter_context(_Mounted(place / "state"))
        self._job = replace(template, authority=replace(template.authority, urls=(self._url(tls=tls),)))
        if tls:
            (place / "tls").mkdir()
            pki = Pki(place / "tls")
            self._right = pki.make(issuer=pki.root, hosts=(HOST,)).server_context()
            self._wrong = pki.make(issuer=pki.make("stranger", issuer=None), hosts=(HOST,)).server_context()
            self.proxy.tls = self._right
            http = replace(self._job.authority.http, tls_trust_anchors=(pki.root.certificate_file,))
            self._job = replace(self._job, authority=replace(self._job.authority, http=http))
        self.answers_within(_CALM)
        self.set_clock(timedelta())

    def __enter__(self) -> Self:
        """Return the world itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.proxy.shut()
        self._serving.close()
        self._stack.close()
        self.ca.close()
        shutil.rmtree(self.place)

    def _pass(self, exchange: Exchange) -> None:
        self.handle(exchange)

    def _url(self, *, tls: bool) -> str:
        return f"{'https' if tls else 'http'}://{HOST}:{self.proxy.port}/.well-known/cmp"

    # --- the device --------------------------------------------------------------------------------------------------

    @property
    def store(self) -> IdentityStore:
        return IdentityStore(self._job.state_directory, self._job.name)

    @property
    def state(self) -> Path:
        return self._job.state_directory

    @property
    def identity(self) -> IdentitySettings:
        return self._job.identity

    def now(self) -> datetime:
        """Return what the device's clock says."""
        return datetime.now(UTC) + timedelta(seconds=self._slept) + self._skew

    def set_clock(self, wrong_by: timedelta) -> None:
        """Set the device's clock, while a worker runs or not."""
        self._skew = wrong_by
        # Replaced whole: the worker may be reading it.
        new = self.place / "clock.new"
        new.write_text(f"{int(wrong_by.total_seconds()):+d}\n")
        new.replace(self.place / "clock")

    def attempt(self, action: Action) -> Outcome:
        """Let a worker do its job once."""
        if self._faked:
            return self._attempt_on_faked_clock(action)
        told = os.memfd_create("told")
        try:
            return perform(self._work(action), SECRET, _Teller(told, self.before), self._environment())
        finally:
            os.close(told)

    def _work(self, action: Action) -> Job:
        return replace(self._job, action=action)

    def _attempt_on_faked_clock(self, action: Action) -> Outcome:
        """Start the worker as the daemon does; what it asks of the kernel about time goes through libfaketime."""
        faked = {
            "LD_PRELOAD": str(_libfaketime()),
            "FAKETIME_TIMESTAMP_FILE": str(self.place / "clock"),
            "FAKETIME_NO_CACHE": "1",  # it changes in the middle of a job
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in faked.items():
                patch.setenv(name, value)
            return run_worker(self._work(action), Secrets(shared=SECRET), lambda _: None, deadline=_DEADLINE)

    def _environment(self) -> Environment:
        def sleep(seconds: float) -> None:
            self._slept += seconds

        return Environment(now=self.now, monotonic=lambda: time.monotonic() + self._slept, sleep=sleep)

    def answers_within(self, seconds: float = _CALM) -> None:
        """Set how long the device waits for a connection and for an answer."""
        authority: AuthoritySettings = self._job.authority
        http: HttpSettings = replace(authority.http, connect_timeout=seconds, response_timeout=seconds)
        self._job = replace(self._job, authority=replace(authority, http=http))

    # --- the way -----------------------------------------------------------------------------------------------------

    def name_is_known(self, *, known: bool) -> None:
        """Let the CA's name be in /etc/hosts or not; there is no other name service in this namespace."""
        _HOSTS.write_text("127.0.0.1 localhost\n" + (f"127.0.0.1 {HOST}\n" if known else ""))

    def certificate_is_right(self, *, right: bool) -> None:
        """Let the https server show its certificate, or that of somebody else."""
        self.proxy.tls = self._right if right else self._wrong
        self.proxy.hang_up()

    def drop_packets(self, *, percent: int, answers: bool = True, requests: bool = True) -> None:
        """Drop a share of the packets to and from the proxy, by chance."""
        chance = "" if percent == 100 else f"numgen random mod 100 < {percent} "
        rules = "add table inet faults; add chain inet faults drops { type filter hook input priority 0; }"
        for ports, wanted in (("dport", requests), ("sport", answers)):
            if wanted:
                rules += f"; add rule inet faults drops tcp {ports} {self.proxy.port} {chance}drop"
        _nft(rules)

    def drop_nothing(self) -> None:
        """Let every packet through."""
        _nft("delete table inet faults")

    # --- the CA ------------------------------------------------------------------------------------------------------

    def restart_ca(self, *, to: Path | None = None) -> None:
        """Stop the CA and start it, from the copy ``to`` of its directory if there is one."""
        self._serving.close()
        self.ca.close()
        if to is not None:
            shutil.rmtree(self.place / "ca")
            shutil.copytree(to, self.place / "ca")
        self.ca = LabCa(self._settings)
        self._serving.enter_context(running(self.ca))

    def back_up_ca(self) -> Path:
        """Copy the CA's directory, as a backup in the night does."""
        self.restart_ca()
        backup = self.place / "backup"
        self._serving.close()
        self.ca.close()
        shutil.copytree(self.place / "ca", backup)
        self.restart_ca()
        return backup

    def record(self) -> Record:
        """Return what the CA knows."""
        return self.ca.record()

    # --- the disk ----------------------------------------------------------------------------------------------------

    @property
    def _filler(self) -> Path:
        return self.state / "filler"

    def fill_disk(self) -> None:
        """Take the last octet of the disk."""
        descriptor = os.open(self._filler, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            while os.write(descriptor, bytes(512)):
                pass
        except OSError:
            os.close(descriptor)

    def empty_disk(self) -> None:
        """Give the room back."""
        self._filler.unlink(missing_ok=True)


class _Mounted:
    """A small disk of its own; tmpfs counts every page as a real one does every block."""

    def __init__(self, where: Path) -> None:
        self._where = where

    def __enter__(self) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", _ROOM, "none", self._where], check=True)

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", self._where], check=True)


def pass_on(exchange: Exchange) -> None:
    """Let a message and its answer through."""
    exchange.peer.say(exchange.forward())


def _libfaketime() -> Path:
    return next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))


def _nft(rules: str) -> None:
    subprocess.run(["nft", rules], check=True, capture_output=True)
