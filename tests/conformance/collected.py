"""The tests that pytest would find, by reading the files: cheap enough to ask in a test."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

from tests.interop.combinations import Peer, of

ROOT: Final = Path(__file__).parents[2]
_PEERS: Final = {
    "tests/interop/test_openssl_server.py": Peer.OPENSSL_SERVER,
    "tests/interop/test_openssl_client.py": Peer.OPENSSL_CLIENT,
    "tests/interop/test_bouncycastle.py": Peer.BOUNCY_CASTLE,
}


def is_test(node_id: str) -> bool:
    """Tell whether ``path::function`` or ``path::function[parameters]`` is a test below tests/.

    The parameters of one set, as pytest names them, must be words that stand in what parametrizes the function: in its
    decorators, or in the constants of the file that these refer to.
    """
    path, _, rest = node_id.partition("::")
    name, _, parameters = rest.partition("[")
    words = _tests(path).get(name)
    wanted = parameters.removesuffix("]")
    return words is not None and (not parameters or _composed(wanted, words) or wanted in _combinations(path, name))


def _combinations(path: str, name: str) -> frozenset[str]:
    """Return the parameters of the tests that run the table of tests/interop."""
    known = path.startswith("tests/interop/") and name == "test_combination"
    peer = _PEERS.get(path)
    return frozenset(one.id for one in of(peer)) if known and peer else frozenset()


def names(path: str) -> tuple[str, ...]:
    """Return the names of the tests in a file, in their order."""
    return tuple(_tests(path))


def _composed(text: str, words: frozenset[str]) -> bool:
    """Tell whether ``text`` is some of ``words`` joined by dashes, which may be in them too."""
    return text in words or any(
        text[at] == "-" and text[:at] in words and _composed(text[at + 1 :], words) for at in range(len(text))
    )


@cache
def _tests(path: str) -> dict[str, frozenset[str]]:
    """Return the tests of a file with the words of their parameters; none where pytest would not look."""
    file = ROOT / path
    if not (path.startswith("tests/") and file.name.startswith("test_") and file.is_file()):
        return {}
    module = ast.parse(file.read_text())
    constants = {
        target.id: one.value
        for one in module.body
        if isinstance(one, ast.Assign | ast.AnnAssign) and one.value is not None
        for target in (one.targets if isinstance(one, ast.Assign) else [one.target])
        if isinstance(target, ast.Name)
    }
    return {
        one.name: frozenset(_words(one.decorator_list, constants))
        for one in module.body
        if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")
    }


def _words(nodes: list[ast.expr], constants: dict[str, ast.expr]) -> set[str]:
    found: set[str] = set()
    for node in (one for root in nodes for one in ast.walk(root)):
        match node:
            case ast.Constant(value=value):
                found.add(str(value))
            case ast.Name(id=name) if name in constants:
                found |= _words([constants[name]], {key: it for key, it in constants.items() if key != name})
    return found
