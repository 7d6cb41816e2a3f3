"""kill -9 at every effect of a deployment: the consumer sees one whole credential, and the next worker finishes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from agent.contract import Action
from agent.deploy.material import certificates_pem
from agent.settings import DeployTarget, DirectoryTarget, HookTarget, OnFailure, Switching
from agent.store.deployment import DeploymentFile
from agent.store.generations import IdentityStore
from tests.unit.worker.desk import SECRET, Desk
from tests.unit.worker.mortal import ON_THE_DISK, mortality


class Scene:
    """A device with two certificates, of which its consumers have the first; set up again for every death."""

    def __init__(self, desk: Desk, place: Path, *, refuses: bool) -> None:
        self.place = place
        self.files = place / "files"
        self.calls = place / "calls"
        self.files.mkdir()
        hook = place / "hook"
        hook.write_text(f'#!/bin/sh\necho "$ENROLLD_GENERATION" >>{self.calls}\n')
        hook.chmod(0o755)
        consumers = (
            DeployTarget(directory=DirectoryTarget(path=self.files, switching=Switching.LINK)),
            DeployTarget(hook=HookTarget(command=(str(hook),), on_failure=OnFailure.ROLLBACK)),
        )
        desk.configure(identity={"deploy": consumers})
        desk.do()
        desk.configure(identity={"deploy": ()})
        desk.do(Action.RENEW)
        desk.configure(identity={"deploy": consumers})
        if refuses:
            hook.write_text(hook.read_text() + '[ "$ENROLLD_GENERATION" != 2 ]\n')
        self.job = replace(desk.job, action=Action.DEPLOY, again=True)
        self.state = desk.job.state_directory
        self.store = IdentityStore(self.state, "ike")
        self.backup = place.with_name("backup")
        for one in (self.files, self.state):
            shutil.copytree(one, self.backup / one.name, symlinks=True)
        self.wanted = {
            certificates_pem(made.certificate): made.private_key.read_bytes()
            for made in self.store.generations
            if made.private_key is not None
        }

    def again(self) -> None:
        for one in (self.files, self.state):
            shutil.rmtree(one)
            shutil.copytree(self.backup / one.name, one, symlinks=True)
        self.calls.unlink(missing_ok=True)

    def check_consumer(self) -> int:
        """Expect a key and a certificate that belong together; return which generation it is."""
        certificate = (self.files / "certificate.pem").read_bytes()
        assert (self.files / "private-key.pem").read_bytes() == self.wanted[certificate]
        return list(self.wanted).index(certificate) + 1


@pytest.mark.parametrize("refuses", [False, True], ids=["taken", "refused and rolled back"])
def test_whenever_a_worker_dies_the_consumer_has_a_whole_credential_and_the_next_one_finishes(
    desk: Desk, tmp_path: Path, *, refuses: bool
) -> None:
    (tmp_path / "scene").mkdir()
    scene = Scene(desk, tmp_path / "scene", refuses=refuses)
    told = tmp_path / "told"
    ends_with, verdict = (1, "deploying") if refuses else (2, "done")
    with mortality() as undertaker:
        total = undertaker.do(scene.job, SECRET, told, effects=ON_THE_DISK).effects
        assert total > 10
        for number in range(1, total + 1, 5 if refuses else 1):  # the way back is long, and made of the same steps
            scene.again()
            end = undertaker.do(scene.job, SECRET, told, effects=ON_THE_DISK, dies_at=number)
            assert end.died
            scene.check_consumer()
            for _ in range(2):  # where it died just after the rollback, the first one tries the refused one again
                end = undertaker.do(scene.job, SECRET, told, effects=ON_THE_DISK)
            assert end.verdict == verdict, f"effect {number}: {end.text}"
            assert scene.check_consumer() == ends_with
            assert scene.store.current is not None
            assert scene.store.current.number == ends_with
            record = DeploymentFile(scene.store.directory).load()
            assert [one.generation for one in record.targets.values()] == [ends_with, ends_with]
            assert scene.calls.read_text().splitlines()[-1] == str(ends_with), "the last command is told what is there"
            hidden = [one.name for one in scene.files.iterdir() if one.name.startswith(".")]
            assert len(hidden) == 2, hidden
