"""Which one-time secret a CA refused: remembered, so that nobody sends it until the CA locks its reference.

Of the secret itself two octets of a salted hash are kept. They are compared with the secret that the configuration
names: one new secret in 65,536 looks like the refused one, and a person who orders the job gets past that.
"""

from __future__ import annotations

import os

from agent.digest import sha256_hex
from agent.frozen import frozen

_SALT: int = 16
_KEPT: int = 4
"""Hexadecimal digits."""


@frozen
class RefusedSecret:
    """The salt and the mark of a secret that was refused in some ``context``; both in hexadecimal."""

    salt: str
    mark: str

    @classmethod
    def of(cls, secret: bytes, context: bytes) -> RefusedSecret:
        """Return what is kept of ``secret``. It counts as another one in another ``context``."""
        salt = os.urandom(_SALT).hex()
        return cls(salt, _mark(salt, secret, context))

    def fits(self, secret: bytes, context: bytes) -> bool:
        """Tell whether it is this secret that was refused, in this context."""
        return _mark(self.salt, secret, context) == self.mark


def _mark(salt: str, secret: bytes, context: bytes) -> str:
    return sha256_hex(f"{salt} {sha256_hex(context)} ".encode("ascii") + secret)[:_KEPT]
