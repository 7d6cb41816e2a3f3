"""``@frozen`` is held against what the standard library makes of the same class."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, field, fields, is_dataclass, replace
from typing import Any

import pytest

from agent.frozen import frozen


class _Point:
    """A place."""

    x: int
    y: int = 0
    label: str = field(default="", compare=False)
    secret: bytes = field(default=b"", repr=False)
    marks: tuple[str, ...] = field(default_factory=tuple)
    kind: str = field(default="point", init=False)


def _twice(make: Callable[[type], Any], ours: Callable[[type], Any]) -> tuple[Any, Any]:
    """Let both make a class of the same body and name."""
    body = {name: value for name, value in vars(_Point).items() if name not in {"__dict__", "__weakref__"}}
    return tuple(decorator(type("Point", (), dict(body))) for decorator in (make, ours))


STANDARD, OURS = _twice(dataclass(frozen=True, slots=True), frozen)


@frozen
class Reading:
    """At module level, as pickle wants it."""

    name: str
    value: float = 0.0


@frozen(kw_only=True)
class Checked:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")


@frozen
class Longer(Reading):
    unit: str = "s"


@frozen(eq=False)
class Itself:
    value: int


@frozen
class Empty:
    """Nothing in it."""


def test_it_is_filled_as_a_dataclass_is() -> None:
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((1,), {}),
        ((1, 2), {"label": "a"}),
        ((), {"x": 3, "secret": b"s", "marks": ("m",)}),
    ]
    for arguments, keywords in given:
        expected, made = STANDARD(*arguments, **keywords), OURS(*arguments, **keywords)
        assert [getattr(made, one.name) for one in fields(OURS)] == [
            getattr(expected, one.name) for one in fields(STANDARD)
        ]


@pytest.mark.parametrize("keywords", [{}, {"x": 1, "z": 2}, {"x": 1, "kind": "line"}])
def test_wrong_arguments_are_refused_in_python_s_own_words(keywords: dict[str, Any]) -> None:
    with pytest.raises(TypeError) as expected:
        STANDARD(**keywords)
    with pytest.raises(TypeError) as found:
        OURS(**keywords)
    assert str(found.value).partition("(")[2] == str(expected.value).partition("(")[2]


def test_it_is_filled_in_the_same_way_however_often_it_is_used() -> None:
    @frozen
    class Fresh:
        x: int
        marks: list[int] = field(default_factory=list)
        label: str = field(default="a", init=False)

    made = [Fresh(number) for number in range(100)]
    assert [(one.x, one.marks, one.label) for one in made] == [(number, [], "a") for number in range(100)]
    assert len({id(one.marks) for one in made}) == 100
    assert Fresh(1, [2]) == Fresh(x=1, marks=[2])


def test_arguments_given_twice_or_too_many_are_refused_at_the_first_use() -> None:
    @frozen
    class Fresh:
        x: int = 0

    with pytest.raises(TypeError, match="multiple values"):
        Fresh(1, x=2)  # type: ignore[misc]

    @frozen
    class Other:
        x: int = 0

    with pytest.raises(TypeError, match="positional"):
        Other(1, 2)  # type: ignore[call-arg]


def test_it_is_shown_and_hashed_as_a_dataclass_is() -> None:
    assert repr(OURS(1, secret=b"s")) == repr(STANDARD(1, secret=b"s"))
    assert hash(OURS(1, 2, label="a")) == hash(OURS(1, 2, label="b")) != hash(OURS(2, 1))
    assert {OURS(1): "found"}[OURS(1)] == "found"


def test_it_equals_what_has_the_same_class_and_the_same_compared_fields() -> None:
    assert OURS(1, label="a") == OURS(1, label="b")
    assert OURS(1) != OURS(1, secret=b"s")
    assert OURS(1) != STANDARD(1)
    assert Reading("a") != Longer("a")
    assert Empty() == Empty()
    assert len({Empty(), Empty()}) == 1


def test_without_eq_it_equals_itself_only() -> None:
    one = Itself(1)
    assert one == one  # noqa: PLR0124 - that is the point
    assert one != Itself(1)
    assert len({one, Itself(1)}) == 2


def test_nothing_of_it_can_be_changed_deleted_or_added() -> None:
    made: Any = Reading("a")
    for name in ("value", "other"):
        with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
            setattr(made, name, 1.0)
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'value'"):
        del made.value
    assert made == Reading("a")


def test_the_standard_library_takes_it_for_a_dataclass() -> None:
    cls: Any = Reading
    assert is_dataclass(cls)
    assert [one.name for one in fields(Reading)] == ["name", "value"]
    assert replace(Reading("a"), value=2.0) == Reading("a", 2.0)
    match Reading("a", 3.0):
        case Reading(name, value):
            assert (name, value) == ("a", 3.0)


def test_a_subclass_has_the_fields_of_both() -> None:
    made = Longer("a", 1.0, unit="m")
    assert repr(made) == "Longer(name='a', value=1.0, unit='m')"
    assert made == replace(Longer("a"), value=1.0, unit="m")


def test_a_subclass_without_fields_of_its_own_is_filled_like_its_base() -> None:
    class Named(Reading):
        __slots__ = ()

    assert Named("a", 2.0).value == 2.0
    assert Reading("b").name == "b"


def test_it_may_check_itself_once_it_is_filled() -> None:
    assert Checked(low=1, high=2).high == 2
    with pytest.raises(ValueError, match="low is above high"):
        Checked(low=2, high=1)
    with pytest.raises(TypeError):
        Checked(1, 2)  # type: ignore[call-arg]


def test_it_can_be_copied_and_pickled() -> None:
    made = Reading("a", 1.5)
    assert copy.copy(made) == copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made  # noqa: S301


def test_what_a_class_writes_itself_stays() -> None:
    @frozen
    class Shown:
        value: int

        def __repr__(self) -> str:
            return "hidden"

    assert repr(Shown(1)) == "hidden"
