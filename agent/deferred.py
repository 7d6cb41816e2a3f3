"""Modules of the standard library that others import for something we never ask of them: loaded when used after all.

``dataclasses`` imports ``inspect`` (and with it ``ast``, ``dis`` and ``tokenize``) for the signature of a class without
a docstring, and from Python 3.12 on for the annotations of every class, which are three lines, and ``copy`` for
``asdict``; ``urllib.parse``, which ``pathlib`` imports, ``ipaddress`` to check addresses in brackets. In a daemon that
stays for years they were more than a megabyte that nothing ever looked at.

``importlib.util.LazyLoader`` would do, but in Python 3.11 the second ``import`` of such a module loads it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _Deferred(ModuleType):
    """Stands for a module until something in it is asked for, and then has all that is in it."""

    def __getattr__(self, attribute: str) -> Any:
        module = _loaded(self.__name__)
        self.__dict__.update(module.__dict__)
        return getattr(module, attribute)


def _loaded(name: str) -> ModuleType:
    if isinstance(sys.modules.get(name), _Deferred):
        del sys.modules[name]
    return import_module(name)


def defer(name: str, **stand_ins: Any) -> None:
    """Have the module loaded when something in it but ``stand_ins`` is used; one that is loaded already stays so."""
    if name not in sys.modules:
        sys.modules[name] = module = _Deferred(name)
        module.__dict__.update(stand_ins)


def defer_what_nobody_uses() -> None:
    """Defer what is named above."""
    defer("inspect", get_annotations=_annotations)
    defer("copy")
    defer("ipaddress")


def _annotations(of: Any, **options: Any) -> Any:
    """Return what ``inspect.get_annotations`` does; a class, and nothing else asked, needs none of it."""
    if options or not isinstance(of, type):
        return _loaded("inspect").get_annotations(of, **options)
    found = vars(of).get("__annotations__")
    return dict(found) if isinstance(found, dict) else {}
