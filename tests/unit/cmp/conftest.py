from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cmp import openssl


@pytest.fixture(scope="session")
def openssl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with certificates, keys and CRLs that openssl made."""
    folder = tmp_path_factory.mktemp("openssl")
    openssl.make_pki(folder)
    return folder


@pytest.fixture(scope="session")
def recordings(openssl_folder: Path) -> dict[str, bytes]:
    """Messages that ``openssl cmp`` and its mock server exchanged, by name."""
    return openssl.record(openssl_folder)
