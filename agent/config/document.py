"""YAML text to a tree of nodes that know their line. Only the harmless part of YAML is let in.

The tree is built from the parser's events, not by its constructors: nothing is converted behind the writer's back,
and what could surprise is refused with its line: keys given twice, anchors and aliases, tags, several documents, deep
nesting. What a plain scalar means is decided later, by the type of the setting (``agent.config.scalars``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from agent.config.syntax import explain
from agent.deferred import patterns_on_demand
from agent.frozen import frozen

if TYPE_CHECKING:
    import yaml

    from agent.config.findings import KeyPath, Mistakes, Place

LARGEST: Final = 1_048_576
"""Characters. A thousand identities fit into half of it."""

DEEPEST: Final = 16
"""Levels of nesting; the settings need six."""

MOST: Final = 100_000
"""Values, keys and lists in all. A file of the largest size that makes sense has fewer."""

_UNFIT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]|\r(?!\n)")
"""What YAML does not allow in a file (YAML 1.1 section 5.1); the byte order mark, which hides in the first key; and
what ends a line in YAML but not in an editor, so that lines are counted alike."""


class Scalar(NamedTuple):
    """One value as it stands in the file; ``plain`` when it is not in quotes, so that YAML may read it as a number."""

    place: Place
    text: str
    plain: bool


@frozen
class Listing:
    """A YAML sequence."""

    place: Place
    items: list[Node] = field(default_factory=list)


@frozen
class Table:
    """A YAML mapping: keys with values, in the order of the file, each key once."""

    place: Place
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)


@frozen
class Unusable:
    """A value that was refused here already; whoever meets it keeps quiet."""

    place: Place


Node: TypeAlias = Scalar | Listing | Table | Unusable


class Unparsable(Exception):
    """The text is not YAML, or not YAML for us; nothing after ``place`` was read."""

    def __init__(self, place: Place | None, text: str, remedy: str) -> None:
        """Keep what is wrong; without a ``place`` it is the whole file."""
        super().__init__(text)
        self.place = place
        self.text = text
        self.remedy = remedy


def compose(text: str, mistakes: Mistakes) -> Node | None:
    """Return the tree of one YAML document; None when there is nothing in it.

    Mistakes that leave the rest readable are added to ``mistakes``.

    Raises:
        Unparsable: when reading cannot go on.
        Enough: when there are too many mistakes.
    """
    with patterns_on_demand():  # libyaml needs none of those that the parser written in Python has
        import yaml  # noqa: PLC0415 - slow to import, and whoever only asks for settings does not need it

    _inspect(text)
    # libyaml's parser is 15 times as fast; it is missing where PyYAML was built without it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Composer(loader(text).get_event, mistakes).document()
    except yaml.MarkedYAMLError as error:
        raise Unparsable(*explain(error, text)) from error
    except yaml.YAMLError as error:  # without a place: characters the parser itself refuses
        raise Unparsable(None, "this is not YAML", "remove unusual characters; is this a text file?") from error


def place_of(path: KeyPath, root: Node) -> Place:
    """Return where a key or list entry stands, or the nearest section around it that does."""
    place, node = root.place, root
    for part in path:
        if isinstance(node, Table) and part in node.entries:
            key, node = node.entries[str(part)]
            place = key.place
        elif isinstance(node, Listing) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            place = node.place
        else:
            break
    return place


def _inspect(text: str) -> None:
    if len(text) > LARGEST:
        raise Unparsable(None, f"the file is larger than {LARGEST} characters", "is this the right file?")
    if all(map(str.isprintable, text.split("\n"))) or (unfit := _UNFIT.search(text)) is None:
        return  # what is printable is fit, and that is quick to tell
    line_start = text.rfind("\n", 0, unfit.start()) + 1
    place = (text.count("\n", 0, line_start) + 1, unfit.start() - line_start + 1)
    if unfit[0] == "\ufeff":
        raise Unparsable(place, "there is a byte order mark", "save the file as UTF-8 without it (no BOM)")
    found = f"there is a character this file may not hold, U+{ord(unfit[0]):04X}"
    raise Unparsable(place, found, "remove it; is this a text file, with lines that end as on Linux?")


def _place(mark: yaml.Mark) -> Place:
    return (mark.line + 1, mark.column + 1)


def _deeper(place: Place, depth: int) -> int:
    if depth == DEEPEST:
        text = f"this is nested more than {DEEPEST} levels deep"
        raise Unparsable(place, text, "no setting needs that; compare it with the examples")
    return depth + 1


class _Composer:
    """One pass over the events. The path of open containers is kept for the mistakes' sake."""

    def __init__(self, next_event: Callable[[], Any], mistakes: Mistakes) -> None:
        self._next = next_event
        self._mistakes = mistakes
        self._nodes = 0

    def document(self) -> Node | None:
        root: Node | None = None
        while (name := type(event := self._next()).__name__) != "StreamEndEvent":
            if name != "DocumentStartEvent":
                continue
            if root is not None:
                text = "a second document begins here, and only one is read"
                raise Unparsable(_place(event.start_mark), text, "remove the line with --- and join the two")
            root = self._node(self._next(), (), depth=0)
        empty = isinstance(root, Scalar) and root.plain and not root.text
        return None if empty else root

    def _node(self, event: Any, path: KeyPath, depth: int) -> Node:
        mark = event.start_mark
        place = (mark.line + 1, mark.column + 1)
        name = type(event).__name__
        if event.anchor is not None or event.tag is not None:  # the first of an alias, too, which has no tag
            self._refuse_extras(name, event, place, path)
        self._nodes += 1
        if self._nodes > MOST:
            raise Unparsable(place, f"there are more than {MOST} values up to here", "is this the right file?")
        if name == "ScalarEvent":
            return Scalar(place, event.value, not event.style)
        if name == "MappingStartEvent":
            return self._table(place, path, _deeper(place, depth))
        return self._listing(place, path, _deeper(place, depth)) if name == "SequenceStartEvent" else Unusable(place)

    def _refuse_extras(self, name: str, event: Any, place: Place, path: KeyPath) -> None:
        # What stands there is never repeated: it may be a secret that happens to begin with such a sign.
        if name == "AliasEvent":
            text = "a value that begins with * stands for one given elsewhere, which is not allowed here"
            self._mistakes.add(place, path, text, "write the value out, or put a text in quotes")
            return
        if event.anchor is not None:
            text = "a value that begins with & is named for use elsewhere, which is not allowed here"
            self._mistakes.add(place, path, text, "remove the name, or put a text in quotes")
        if event.tag is not None:
            text = "a value that begins with ! has a tag, which is not allowed here"
            self._mistakes.add(place, path, text, "remove the tag, or put a text in quotes")

    def _listing(self, place: Place, path: KeyPath, depth: int) -> Listing:
        items: list[Node] = []
        while type(event := self._next()).__name__ != "SequenceEndEvent":
            items.append(self._node(event, (*path, len(items)), depth))
        return Listing(place, items)

    def _table(self, place: Place, path: KeyPath, depth: int) -> Table:
        entries: dict[str, tuple[Scalar, Node]] = {}
        while type(event := self._next()).__name__ != "MappingEndEvent":
            key = self._node(event, path, depth)
            word = key.text if isinstance(key, Scalar) else ""
            value = self._node(self._next(), (*path, word), depth)
            if not isinstance(key, Scalar):
                self._mistakes.add(key.place, path, "a key must be a single word", "write it as `key: value`")
            elif word in entries:
                text = f"this key is given twice, first on line {entries[word][0].place[0]}"
                self._mistakes.add(key.place, (*path, word), text, "keep one of the two")
            else:
                entries[word] = (key, value)
        return Table(place, entries)
