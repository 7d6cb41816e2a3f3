"""Modules of the standard library that others import for something we never ask of them: loaded when used after all.

``dataclasses`` imports ``inspect`` (and with it ``ast``, ``dis`` and ``tokenize``) for the signature of a class without
a docstring, and from Python 3.12 on for the annotations of every class, which are three lines, and ``copy`` for
``asdict``; ``urllib.parse``, which ``pathlib`` imports, ``ipaddress`` to check addresses in brackets. In a daemon that
stays for years they were more than a megabyte that nothing ever looked at.

``importlib.util.LazyLoader`` would do, but in Python 3.11 the second ``import`` of such a module loads it.

A library for certificates does the like: a tenth of what a worker took to start was one regular expression, for names
written as text, which no worker reads. :func:`on_demand` puts that off as well. PyYAML compiles a dozen for a parser
that is not used: a fifth of what it took to read a small configuration (:func:`patterns_on_demand`).
"""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


_compile = re.compile
_SSH: Final = "cryptography.hazmat.primitives.serialization.ssh"
_KEYS_OF_SSH: Final = (
    "SSHCertificate", "SSHCertificateBuilder", "SSHCertificateType", "SSHCertPrivateKeyTypes", "SSHCertPublicKeyTypes",
    "SSHPrivateKeyTypes", "SSHPublicKeyTypes", "load_ssh_private_key", "load_ssh_public_identity",
    "load_ssh_public_key", "ssh_key_fingerprint",
)  # fmt: skip
"""What ``cryptography`` re-exports from it; a name that is missing here loads it."""
_ANY_ADDRESS: Final = dict.fromkeys(("IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"), object)
"""What it names for type checkers while it is imported."""


class _Deferred(ModuleType):
    """Stands for a module until something in it is asked for, and then has all that is in it."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "__path__":  # ``from ... import`` asks for it, and only packages have one
            raise AttributeError(attribute)
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
        package, _, last = name.rpartition(".")
        if package:
            setattr(import_module(package), last, module)


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


@contextmanager
def on_demand(*modules: str) -> Iterator[None]:
    """Import what deals with certificates: patterns made in this block are compiled when they are first used.

    So are ``modules`` loaded, wherever they are imported as modules, and not names of theirs.

    What ``cryptography`` and ``pyasn1`` import for functions that we never call is put off as well: hashes of another
    OpenSSL than theirs, keys of SSH, a log of what is decoded, addresses of mail and of hosts. And a dataclass without
    a docstring is given a short one, without ``inspect``. What is imported here sees a changed ``re.compile``, and so
    does whoever runs beside it: this is for the start of a process with one thread.
    """
    with (
        patterns_on_demand(),
        _meanwhile("inspect", signature=_short_signature),
        _meanwhile("ipaddress", **_ANY_ADDRESS),
    ):
        for name in ("hashlib", "hmac", "random", *modules):
            defer(name)
        defer("email.utils", parseaddr=_parseaddr)
        defer("pyasn1.debug", registerLoggee=_no_logger, DEBUG_DECODER=0, DEBUG_ENCODER=0)
        defer(_SSH, **{name: _Later(_SSH, name) for name in _KEYS_OF_SSH})
        yield


@contextmanager
def patterns_on_demand() -> Iterator[None]:
    """Import something: patterns made in this block are compiled when they are first used. As above: one thread."""
    re.compile = _Pattern  # type: ignore[assignment]
    try:
        yield
    finally:
        re.compile = _compile


@contextmanager
def _meanwhile(name: str, **stand_ins: Any) -> Iterator[None]:
    """Have ``stand_ins`` in a deferred module in this block; one that is loaded has its own."""
    module = vars(sys.modules[name])
    added = {attribute: one for attribute, one in stand_ins.items() if module.setdefault(attribute, one) is one}
    try:
        yield
    finally:
        for attribute, one in added.items():
            if module[attribute] is one:
                del module[attribute]


class _Pattern:
    """Stands for a compiled pattern, whose methods and attributes it has."""

    def __init__(self, pattern: Any, flags: Any = 0) -> None:
        self._given = (pattern, flags)

    def __getattr__(self, name: str) -> Any:
        value = getattr(_compile(*self._given), name)
        self.__dict__[name] = value
        return value


class _Later:
    """Stands for a function or class of a deferred module until it is called."""

    def __init__(self, module: str, name: str) -> None:
        self._at = (module, name)

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        module, name = self._at
        return getattr(_loaded(module), name)(*arguments, **options)


def _no_logger(*_: Any, **__: Any) -> int:
    """Return what ``pyasn1`` has for a logger where nothing is logged."""
    return 0


def _parseaddr(*arguments: Any, **options: Any) -> Any:
    return _loaded("email.utils").parseaddr(*arguments, **options)


def _short_signature(of: Any, **options: Any) -> Any:
    """Return what a dataclass puts behind its name; for anything else its signature."""
    return "(...)" if isinstance(of, type) else _loaded("inspect").signature(of, **options)
