"""Which tokens, and so which PINs, a job is given."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.contract import Action
from agent.errors import PinError
from agent.settings import (
    AuthoritySettings,
    BootstrapSettings,
    DeployTarget,
    IdentitySettings,
    KeySettings,
    Settings,
    SharedSecretSettings,
    StrongswanTarget,
    TokenSettings,
    VendorCertificateSettings,
)
from agent.store.credential import Credential
from agent.store.deployment import DeploymentFile, DeploymentRecord, TargetRecord
from agent.store.generations import IdentityStore
from agent.supervisor.clocks import ClockFile
from agent.supervisor.jobs import job_for, label_of
from agent.supervisor.secrets import gather

BY_SECRET = BootstrapSettings(shared_secret=SharedSecretSettings(reference="enb", secret="prompt"))


def by_vendor(key: str) -> BootstrapSettings:
    return BootstrapSettings(vendor_certificate=VendorCertificateSettings(certificate=Path("vendor.pem"), key=key))


def settings(
    directory: Path, *, key: KeySettings | None = None, bootstrap: BootstrapSettings = BY_SECRET, pin: str = "prompt"
) -> Settings:
    return Settings(
        state_directory=directory,
        authorities={"operator": AuthoritySettings(urls=("http://127.0.0.1:9/",), trust_anchors=None)},
        identities={
            "ike": IdentitySettings(
                authority="operator", subject="CN=enb", key=key or KeySettings(), bootstrap=bootstrap
            )
        },
        tokens={
            "hsm": TokenSettings(module=Path("/hsm.so"), label="enb token", pin=pin),
            "tpm": TokenSettings(module=Path("/tpm.so"), label="tpm", pin=pin),
        },
    )


def tokens(found: Settings, action: Action = Action.ENROLL) -> set[str]:
    return set(job_for(found, "ike", action).tokens)


def test_keys_in_files_need_no_token(tmp_path: Path) -> None:
    assert tokens(settings(tmp_path, key=KeySettings(existing="factory.key"), bootstrap=by_vendor("v.key"))) == set()


def test_a_new_key_is_made_on_the_token_that_is_the_store(tmp_path: Path) -> None:
    assert tokens(settings(tmp_path, key=KeySettings(store="tpm"))) == {"tpm"}


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("pkcs11:token=tpm;object=ike", {"tpm"}),
        ("pkcs11:object=ike;token=enb%20token?module-name=x", {"hsm"}),
        ("pkcs11:object=ike", {"hsm", "tpm"}),
        ("pkcs11:token=unknown;object=ike", set()),
    ],
)
def test_a_key_that_exists_is_on_the_token_that_its_uri_names(tmp_path: Path, uri: str, expected: set[str]) -> None:
    assert tokens(settings(tmp_path, key=KeySettings(existing=uri))) == expected


def test_the_vendors_key_is_needed_for_the_first_certificate_only(tmp_path: Path) -> None:
    found = settings(tmp_path, bootstrap=by_vendor("pkcs11:token=tpm;object=vendor"))
    assert tokens(found) == {"tpm"}
    assert tokens(found, Action.RENEW) == set()


def test_the_key_of_an_open_request_is_found_although_the_configuration_changed(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path, "ike")
    with store.lock():
        store.transaction.write_key_reference("pkcs11:token=tpm;object=ike")
    assert tokens(settings(tmp_path, key=KeySettings(store="hsm"))) == {"hsm", "tpm"}


@pytest.mark.parametrize(
    ("uri", "label"),
    [
        ("pkcs11:token=a%20b%c3%bc;id=%01", "a bü"),
        ("pkcs11:token=100%;id=%01", "100%"),
        ("pkcs11:id=%01", None),
        ("pkcs11:id=%01?token=x", None),
    ],
)
def test_the_label_in_a_uri(uri: str, label: str | None) -> None:
    assert label_of(uri) == label


def test_every_token_of_the_job_gets_its_pin(tmp_path: Path) -> None:
    job = job_for(settings(tmp_path, key=KeySettings(existing="pkcs11:object=ike")), "ike", Action.ENROLL)
    asked: list[str] = []

    def ask(question: str) -> str:
        asked.append(question)
        return str(len(asked))

    found = gather(job, ask=ask)
    assert (found.shared, found.pins) == (b"1", {"hsm": b"2", "tpm": b"3"})
    assert asked == ["one-time secret of ike (reference enb)", "PIN of the token hsm", "PIN of the token tpm"]


def test_the_token_that_an_ike_daemon_still_uses_goes_along_and_its_pin_holds_up_nothing(tmp_path: Path) -> None:
    store = IdentityStore(tmp_path, "ike")
    charon = DeployTarget(strongswan=StrongswanTarget())
    with store.lock():
        store.switch(store.add(Credential(
            certificate=b"1", trust_anchors=(b"0",), key_reference="pkcs11:token=tpm;id=%01",
        )))  # fmt: skip
        store.switch(store.add(Credential(certificate=b"2", trust_anchors=(b"0",), key_reference="file:///ike.key")))
        used = DeploymentRecord(targets={charon.label: TargetRecord(generation=1)})
        DeploymentFile(store.directory).save(used)
    found = settings(tmp_path, pin=f"file:{tmp_path / 'nonesuch'}")
    moved = replace(found, identities={"ike": replace(found.identities["ike"], deploy=(charon,))})
    assert tokens(found, Action.DEPLOY) == set(), "nobody to give it back to"
    assert tokens(moved, Action.DEPLOY) == tokens(moved, Action.RENEW) == {"tpm"}
    assert tokens(moved, Action.REVOKE) == set()
    assert gather(job_for(moved, "ike", Action.RENEW), ask=None).pins == {}


def test_a_pin_that_is_missing_is_told_apart_from_the_secret(tmp_path: Path) -> None:
    found = settings(tmp_path, key=KeySettings(store="hsm"), bootstrap=by_vendor("v.key"), pin="file:/nowhere/pin")
    with pytest.raises(PinError, match="the PIN file /nowhere/pin cannot be read"):
        gather(job_for(found, "ike", Action.ENROLL), ask=None)


@pytest.mark.parametrize("remembered", [True, False])
def test_what_the_daemon_knows_of_the_time_is_told_to_workers_without_it_too(
    tmp_path: Path, *, remembered: bool
) -> None:
    found = settings(tmp_path)
    later = datetime.now(UTC) + timedelta(days=30)
    if remembered:
        ClockFile(found.state_directory).remember(later)
    known = job_for(found, "ike", Action.ENROLL).known_time
    assert known == (later.isoformat() if remembered else None)
