"""A root, a CA below it and a certificate below that; whether a path is accepted, and why not."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509

from agent.cmp.trust import MODERN, AlgorithmRules, UntrustedPath, build_path
from tests.unit.cmp.pki import NOW, Holder, authority, issue

ROOT = authority("CN=Root,O=Operator")


SUB = authority("CN=Issuing CA,O=Operator", ROOT)


LEAF = issue("CN=ra.operator.example,O=Operator", SUB)


STRANGER = authority("CN=Root,O=Somebody Else")


def path_of(
    leaf: Holder | x509.Certificate,
    *,
    sent: Sequence[Holder] = (SUB,),
    anchors: Sequence[Holder] = (ROOT,),
    at: datetime = NOW,
    rules: AlgorithmRules = MODERN,
    **options: Any,
) -> tuple[x509.Certificate, ...]:
    certificate = leaf.certificate if isinstance(leaf, Holder) else leaf
    return build_path(
        certificate,
        intermediates=[one.certificate for one in sent],
        anchors=[one.certificate for one in anchors],
        at=at,
        rules=rules,
        **options,
    )


def refusal(leaf: Holder | x509.Certificate, **options: Any) -> UntrustedPath:
    with pytest.raises(UntrustedPath) as caught:
        path_of(leaf, **options)
    assert caught.value.remedy
    return caught.value


def certificates(*holders: Holder) -> tuple[x509.Certificate, ...]:
    return tuple(one.certificate for one in holders)
