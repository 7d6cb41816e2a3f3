"""What can go wrong with keys, drawn as one tree. ``str(error)`` says what happened, ``error.remedy`` what to do next.

::

    KeyStoreError                  what happened, and .remedy: what to do next
    ├── KeyNotFound                the reference leads to no key
    ├── KeyExists                  there is a key already where a new one was to be made
    ├── KeyUnusable                something is there, but no key we can use: damaged, encrypted, of another type
    ├── KeyPermissions             others may reach the key, or we may not
    ├── KeyStoreUnwritable         nothing can be written there: full, read-only, failing
    ├── UnsupportedAlgorithm       the store does not make or know such keys, or this key does not work that way
    ├── PeerDataUnusable           what somebody else sent was not made for this key; a ValueError too
    └── TokenError                 the token, and not a key on it, is the trouble
        ├── TokenAbsent            it is not plugged in, was pulled out, is not initialised, or is another one
        ├── PinRefused             its PIN is wrong, locked, expired or not set: only a person can go on
        ├── TokenFailed            it, or its module, failed in the middle of something
        └── ModuleUnusable         its PKCS#11 module cannot be loaded

No message ever holds a part of a private key.
"""

from __future__ import annotations


class KeyStoreError(Exception):
    """Base of all errors with keys."""

    def __init__(self, what: str, *, remedy: str) -> None:
        """Keep one sentence on what happened and one on what to do next."""
        super().__init__(what)
        self.remedy = remedy


class KeyNotFound(KeyStoreError):
    """The reference leads to no key, or is not a reference this store understands."""


class KeyExists(KeyStoreError):
    """A new key was to be made where there is one already. No key is ever overwritten."""


class KeyUnusable(KeyStoreError):
    """Something is there, but no key we can use: damaged, encrypted, of another type, too large, not a file."""


class KeyPermissions(KeyStoreError):
    """Others may read or change the key, or we may not read it."""


class KeyStoreUnwritable(KeyStoreError):
    """The key could not be written or removed: the disk is full, read-only or failing."""


class UnsupportedAlgorithm(KeyStoreError):
    """The store does not make or know keys of this algorithm, or the key does not sign or decrypt that way."""


class PeerDataUnusable(KeyStoreError, ValueError):
    """A ciphertext or public key of somebody else does not fit this key: his mistake, or an attack, and not ours.

    It is a ValueError too, for callers that know nothing of this package.
    """


class TokenError(KeyStoreError):
    """The token, and not a key on it, is the trouble."""


class TokenAbsent(TokenError):
    """It is not plugged in, was pulled out, is not initialised, or is another one than the key was made on."""


class PinRefused(TokenError):
    """The PIN is wrong, locked, expired or not set. It is not given to the token again before a person acts."""


class TokenFailed(TokenError):
    """The token or its module failed in the middle of something; trying again may help."""


class ModuleUnusable(TokenError):
    """The PKCS#11 module cannot be loaded."""
