"""Modules of the standard library that others import for something we never ask of them: loaded when used after all.

``dataclasses`` imports ``inspect`` (and with it ``ast``, ``dis`` and ``tokenize``) to write the signature of a class
without a docstring; ``urllib.parse``, which ``pathlib`` imports, ``ipaddress`` to check addresses in brackets. In a
daemon that stays for years they were a megabyte that nothing ever looked at. From Python 3.12 on ``dataclasses`` uses
``inspect`` for every class.

``importlib.util.LazyLoader`` would do, but in Python 3.11 the second ``import`` of such a module loads it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Final

UNUSED: Final = ("inspect", "ipaddress")


class _Deferred(ModuleType):
    """Stands for a module until something in it is asked for, and then has all that is in it."""

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
        module = import_module(name)
        self.__dict__.update(module.__dict__)
        return getattr(module, attribute)


def defer(*names: str) -> None:
    """Have each of these modules loaded when something in it is first used; one that is loaded already stays so."""
    for name in names:
        sys.modules.setdefault(name, _Deferred(name))
