"""Credentials that only this folder's tests take for real: the store does not look into certificates."""

from __future__ import annotations

from pathlib import Path

from hypothesis import strategies as st

from agent.store.documents import JSON
from agent.store.generations import Credential, Generation, IdentityStore

ROOT = Path(__file__).parents[3]
"""Where a process of its own finds the code and these tests."""

KEY = b"-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n"
TOKEN_KEY = "pkcs11:token=enb;object=ike?module-name=softhsm"

VALUES: st.SearchStrategy[JSON] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
"""Whatever JSON can hold."""


def credential(certificate: bytes = b"certificate", key: Path | None = None, **description: JSON) -> Credential:
    """Make a credential whose key is the file ``key``, or else lies on a token."""
    return Credential(
        certificate=certificate,
        chain=(b"issuer", b"issuer of the issuer"),
        trust_anchors=(b"root", b"next root"),
        private_key=key,
        key_reference=None if key else TOKEN_KEY,
        description=description,
    )


def enrolled(state_directory: Path, count: int = 1) -> tuple[IdentityStore, tuple[Generation, ...]]:
    """Give the store of identity ``ike`` with ``count`` generations, each switched to in its turn."""
    store = IdentityStore(state_directory, "ike")
    with store.lock():
        for number in range(1, count + 1):
            store.switch(store.add(credential(b"certificate %d" % number)))
    return store, store.generations


def left_overs(directory: Path) -> list[Path]:
    """List every name of a temporary file or directory."""
    return [path for path in directory.rglob("*") if path.name.endswith(".tmp")]
