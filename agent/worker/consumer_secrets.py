"""The secrets that consumers ask for on the way: passwords of files, PINs of tokens."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agent.deploy.target import Hands
from agent.errors import ConsumerUnavailable
from agent.events import Event
from agent.worker.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.contract import Job
    from agent.worker.reporting import Reporter


def hands(job: Job, reporter: Reporter, pins: Mapping[str, bytes], passwords: Mapping[str, bytes]) -> Hands:
    """Return what consumers work with: ``pins`` by the names of tokens, ``passwords`` by where they come from."""
    return Hands(
        identity=job.name,
        say=lambda text: reporter.tell(Event.CONSUMER_SAID, text=text),
        read_secret=partial(_password, passwords),
        read_pin=partial(_pin, job, pins),
    )


def _password(passwords: Mapping[str, bytes], source: str) -> bytes:
    password = passwords.get(source)
    if not password:
        raise ConsumerUnavailable(
            f"the password from {source} is not to be had",
            remedy="Put it where the configuration says: a file that only enrolld may read, or LoadCredential= in the "
            "unit.",
        )
    return password


def _pin(job: Job, pins: Mapping[str, bytes], reference: str) -> bytes:
    """Return the PIN of the token that a ``pkcs11:`` URI names, after the token took it from us.

    A consumer would try a wrong one again and again, until the token locks; we remember what was refused.
    """
    keys = Keyring.of(job, pins)
    name = keys.store_name(reference)
    if name not in pins:
        raise ConsumerUnavailable(
            f"the PIN of the token {name} is not to be had", remedy="Put it where the configuration says."
        )
    keys.token(name).log_in()
    return pins[name]
