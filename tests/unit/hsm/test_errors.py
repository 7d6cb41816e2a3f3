from __future__ import annotations

import pytest

from hsm import errors
from hsm.errors import KeyStoreError


def below(error: type[KeyStoreError]) -> list[type[KeyStoreError]]:
    return [
        error,
        *(deeper for one in error.__subclasses__() for deeper in below(one) if one.__module__ == "hsm.errors"),
    ]


TREE = below(KeyStoreError)


@pytest.mark.parametrize("error", TREE)
def test_every_error_is_drawn_in_the_tree_and_carries_a_remedy(error: type[KeyStoreError]) -> None:
    assert errors.__doc__ is not None
    assert f" {error.__name__} " in errors.__doc__
    raised = error("there is no key", remedy="make one")
    assert (str(raised), raised.remedy) == ("there is no key", "make one")


def test_nothing_is_drawn_that_does_not_exist() -> None:
    drawn = [line.split("── ")[1].split()[0] for line in str(errors.__doc__).splitlines() if "── " in line]
    assert drawn == [error.__name__ for error in TREE[1:]]
