"""The generations of an identity as consumers need them: which one, whether it can be used, and read but once."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from agent.deploy import material
from agent.errors import StateCorrupt, StateNewer
from agent.store.credential import REVOKED
from hsm.errors import KeyStoreError

if TYPE_CHECKING:
    from agent.deploy.material import Material
    from agent.store.generations import Generation, IdentityStore
    from agent.worker.environment import Environment


class Credentials:
    """The generations of one identity."""

    def __init__(self, store: IdentityStore, environment: Environment) -> None:
        """Keep where they are; nothing is read yet."""
        self._store = store
        self._environment = environment
        self._materials: dict[int, Material] = {}

    def find(self, number: int | None) -> Generation | None:
        """Return the generation with this number, if it is there."""
        return next((one for one in self._store.generations if one.number == number), None)

    def usable(self, generation: Generation) -> bool:
        """Tell whether a generation is valid now and was not revoked."""
        try:
            revoked = REVOKED in generation.marks
        except (StateCorrupt, StateNewer):
            return False
        end = _end_of(generation)
        return not revoked and end is not None and self._environment.judging_time < end

    def material(self, generation: Generation) -> Material:
        """Return it whole; raise what :func:`agent.deploy.material.load` raises."""
        if generation.number not in self._materials:
            self._materials[generation.number] = material.load(generation)
        return self._materials[generation.number]

    def before(self, generation: Generation, number: int | None) -> Material | None:
        """Return what a consumer has instead of ``generation`` and could get back, by its number."""
        found = self.find(number)
        if found is None or found.number == generation.number or not self.usable(found):
            return None
        return self._readable(found)

    def others(self, generation: Generation) -> tuple[Material, ...]:
        """Return every other one that can be read."""
        others = (self._readable(one) for one in self._store.generations if one.number != generation.number)
        return tuple(one for one in others if one is not None)

    def _readable(self, generation: Generation) -> Material | None:
        try:
            return self.material(generation)
        except (StateCorrupt, StateNewer, KeyStoreError, KeyError):  # one that cannot be read is no use to anybody
            return None

    def first_end(self, numbers: set[int | None]) -> datetime | None:
        """Return when the first of these generations ends; of one that is damaged nobody knows."""
        ends = (_end_of(one) for one in self._store.generations if one.number in numbers)
        return min((one for one in ends if one is not None), default=None)


def _end_of(generation: Generation) -> datetime | None:
    try:
        return datetime.fromisoformat(str(generation.description["not_after"]))
    except (StateCorrupt, StateNewer, KeyError, ValueError):
        return None
