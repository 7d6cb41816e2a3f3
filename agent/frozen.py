"""``@frozen``: an immutable dataclass whose methods are written when they are first needed.

``dataclass(frozen=True, slots=True)`` writes and compiles seven methods for each class while its module is imported:
0.3 to 0.6 ms a class, which was more than a third of what a worker took to start. Here the standard library finds the
fields, so that ``fields``, ``replace``, ``is_dataclass`` and ``match`` work as ever. Comparing, hashing, showing and
refusing changes are the same few functions for all classes. So is ``__init__``, until a class is used often: compiling
one takes as long as filling thirty objects without. There are no slots: for them each class is made twice. To a type
checker it is a frozen dataclass. ``InitVar`` and ``order`` are not supported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import MISSING, Field, FrozenInstanceError, dataclass, field, fields
from functools import cache
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

T = TypeVar("T")

_NOT_GIVEN = object()
_OFTEN = 20
_uses: Counter[type] = Counter()


@overload
def frozen(cls: type[T], /) -> type[T]: ...
@overload
def frozen(*, kw_only: bool = False, eq: bool = True) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(
    cls: type[T] | None = None, /, *, kw_only: bool = False, eq: bool = True
) -> type[T] | Callable[[type[T]], type[T]]:
    """Make ``cls`` a frozen dataclass; without ``eq`` an object equals itself only."""

    def make(cls: type[T]) -> type[T]:
        cls.__doc__ = cls.__doc__ or cls.__name__  # without one, ``dataclass`` has the source of Python taken apart
        made = dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        methods = _METHODS | _COMPARING if eq else _METHODS
        for name, method in methods.items():
            if name not in made.__dict__:
                setattr(made, name, method)
        return made

    return make if cls is None else make(cls)


def _init(self: Any, /, *args: Any, **kwargs: Any) -> None:
    """Fill an object; once its class is used often, or wrongly, by an ``__init__`` written for it alone."""
    cls: Any = next(one for one in type(self).__mro__ if one.__dict__.get("__init__") is _init)
    _uses[cls] += 1
    if _uses[cls] > _OFTEN or not _fill(self, fields(cls), args, kwargs):
        written = cls.__init__ = _written_init(cls)
        written(self, *args, **kwargs)


def _fill(self: Any, of: tuple[Field[Any], ...], args: tuple[Any, ...], given: dict[str, Any]) -> bool:
    """Set every field; return whether the arguments fit."""
    positional = [one.name for one in of if one.init and not one.kw_only]
    values = dict(zip(positional, args, strict=False)) | given
    if len(values) < len(args) + len(given):
        return False
    for one in of:
        if one.init and one.name in values:
            value = values.pop(one.name)
        elif one.default_factory is not MISSING:
            value = one.default_factory()
        elif one.default is not MISSING:
            value = one.default
        elif one.init:
            return False
        else:
            continue
        object.__setattr__(self, one.name, value)
    if values:
        return False
    if hasattr(self, "__post_init__"):
        self.__post_init__()
    return True


def _written_init(cls: type) -> Callable[..., None]:
    scope: dict[str, Any] = {"_set": object.__setattr__, "_NOT_GIVEN": _NOT_GIVEN}
    positional: list[str] = []
    keywords: list[str] = []
    body: list[str] = []
    for one in fields(cls):
        parameter, value = _parameter(one, scope)
        if one.init:
            (keywords if one.kw_only else positional).append(parameter)
        if value:
            body.append(f"_set(self, {one.name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    parameters = ", ".join(["self", *positional, *(["*", *keywords] if keywords else [])])
    exec(f"def __init__({parameters}):\n " + "\n ".join(body or ["pass"]), scope)  # noqa: S102 - of our own classes' names
    written: Callable[..., None] = scope["__init__"]
    written.__qualname__ = f"{cls.__qualname__}.__init__"
    return written


def _parameter(one: Field[Any], scope: dict[str, Any]) -> tuple[str, str]:
    """Return how a field stands among the parameters, and the value it gets ("" for none); add to ``scope``."""
    name, default = one.name, f"_default_{one.name}"
    if one.default_factory is not MISSING:
        scope[default] = one.default_factory
        made = f"{default}()"
        return f"{name}=_NOT_GIVEN", f"{made} if {name} is _NOT_GIVEN else {name}" if one.init else made
    if one.default is not MISSING:
        scope[default] = one.default
        return f"{name}={default}", name if one.init else default
    return name, name if one.init else ""


@cache
def _compared(cls: Any) -> Callable[[Any], Any]:
    names = [one.name for one in fields(cls) if one.compare]
    return attrgetter(*names) if names else lambda _: ()


def _values(self: Any) -> Any:
    cls: Any = type(self)
    return _compared(cls)(self)


def _eq(self: Any, other: object) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return _values(self) == _values(other)


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _setattr(_: object, name: str, value: object) -> NoReturn:  # noqa: ARG001 - the signature is Python's
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _delattr(_: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


_METHODS: dict[str, Callable[..., Any]] = {
    "__init__": _init,
    "__repr__": _repr,
    "__setattr__": _setattr,
    "__delattr__": _delattr,
}
_COMPARING: dict[str, Callable[..., Any]] = {"__eq__": _eq, "__hash__": _hash}
