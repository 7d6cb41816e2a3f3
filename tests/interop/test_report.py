from __future__ import annotations

import json

import pytest

from tests.interop import test_bouncycastle, test_openssl_client, test_openssl_server
from tests.interop.combinations import COMBINATIONS, Peer, of
from tests.interop.report import DOCUMENT, RECORDED, document

REMEDY = "write it anew: python -m tests.interop.report"


def test_every_combination_has_a_name_of_its_own() -> None:
    assert len({one.id for one in COMBINATIONS}) == len(COMBINATIONS)


@pytest.mark.parametrize(
    ("peer", "module"),
    [
        (Peer.OPENSSL_SERVER, test_openssl_server),
        (Peer.OPENSSL_CLIENT, test_openssl_client),
        (Peer.BOUNCY_CASTLE, test_bouncycastle),
    ],
)
def test_the_tests_of_a_peer_run_its_combinations(peer: Peer, module: object) -> None:
    (mark,) = (one for one in module.test_combination.pytestmark if one.name == "parametrize")  # type: ignore[attr-defined]
    assert mark.args == ("one", of(peer))


def test_the_record_has_exactly_the_combinations_that_are_tested_and_all_passed() -> None:
    assert json.loads(RECORDED.read_text())["passed"] == [one.id for one in COMBINATIONS], REMEDY


def test_the_document_is_made_from_the_record() -> None:
    text = DOCUMENT.read_text()
    assert text == document(text, json.loads(RECORDED.read_text())), REMEDY
