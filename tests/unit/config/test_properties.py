from __future__ import annotations

import json
import time
from dataclasses import is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, get_origin

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from agent import config
from agent.config import rules
from agent.errors import ConfigurationError
from agent.settings import Format, Settings
from agent.structure import Member, entry_type, from_json, members, to_json

SOURCE = Path("/etc/enrolld/enrolld.yaml")
WHOLE = (Path(__file__).parents[3] / "config/examples/seg.yaml").read_text()


def settings_texts(format_: Format | None) -> st.SearchStrategy[str]:
    """Texts of a format, in the spelling the loader gives them."""
    samples = {
        Format.URL: ["http://ra.example/cmp", "https://[2001:db8::1]:8443/", "http://192.0.2.1"],
        Format.PROXY: ["http://proxy:3128", "http://[2001:db8::1]:3128/"],
        Format.IP_ADDRESS: ["192.0.2.7", "2001:db8::7", "fe80::1%eth0"],
        Format.DISTINGUISHED_NAME: ["CN=a", r"CN=a\, b+O=\#c,2.5.4.5=12,C=SE"],
        Format.ALTERNATIVE_NAME: ["dns:a.example", "ip:192.0.2.7", "uri:urn:a:b", "email:a@b.example"],
        Format.REGULAR_EXPRESSION: [r"CN=enb-[0-9]+\..*", ".*"],
        Format.SECRET_SOURCE: ["prompt", "credential:a", "file:/a b"],
        Format.KEY_SOURCE: ["/a", "pkcs11:token=a;object=b"],
        Format.SOCKET: ["/run/charon.vici"],
        Format.DURATION: ["1s", "30s", "10", "5m"],
        Format.PERCENT: ["1%", "12.5%", "20%"],
        Format.MODE: ["0640", "600"],
        Format.KEY_HASH: ["ab" * 32, "01" * 32],
    }
    if format_ is None:
        return st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=20)
    return st.sampled_from(samples[format_])


def plain_values(type_: Any, member: Member) -> st.SearchStrategy[Any]:
    bounds = member.metadata["bounds"]
    if issubclass(type_, StrEnum):
        return st.sampled_from(type_)
    if type_ is int:
        return st.integers(*bounds)
    if type_ is float:
        return st.integers(int(bounds[0]) + 1, int(bounds[1])).map(float) | st.just(0.25 + bounds[0])
    if type_ is bool:
        return st.booleans()
    if type_ is Path:
        return st.text("abc/._-é ", min_size=1, max_size=9).map(lambda text: Path("/x", text.lstrip("/")))
    return settings_texts(member.metadata["format"])


def member_values(member: Member) -> st.SearchStrategy[Any]:
    container = get_origin(member.type)
    inner = entry_type(member.type) if container else member.type
    each = sections(inner) if is_dataclass(inner) else plain_values(inner, member)
    if container is tuple:
        each = st.lists(each, min_size=1, max_size=3).map(tuple)
    elif container is dict:
        each = st.dictionaries(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,4}", fullmatch=True), each, max_size=2)
    return st.none() | each if member.optional else each


def sections(cls: Any) -> st.SearchStrategy[Any]:
    known = members(cls).values()
    if all(member.optional for member in known):  # exactly one
        return st.one_of([st.builds(cls, **{member.name: member_values(member)}) for member in known])
    return st.builds(cls, **{member.name: member_values(member) for member in known})


RULE_TEXTS = {
    rule.text
    for part in ("whole", "authority", "identity", "target", "token")
    for rule in getattr(rules.MISTAKES, part)
} | {"expected exactly one of"}


@given(sections(Settings))
def test_settings_survive_the_way_through_a_file_unless_a_rule_across_keys_refuses_them(settings: Settings) -> None:
    assert from_json(Settings, json.loads(json.dumps(to_json(settings)))) == settings
    loaded, lines = outcome(json.dumps(to_json(settings), ensure_ascii=False))
    assert loaded == settings or lines
    for line in lines:
        assert any(text in line for text in RULE_TEXTS), line
    for notice in (*config.warnings(settings), *config.unsupported(settings)):
        assert notice.key
        assert notice.text
        assert notice.remedy


FRAGMENTS = (
    *(
        "\n",
        " ",
        "  ",
        "\t",
        ":",
        ": ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "#",
        "&a",
        "*a",
        "!",
        "|",
        ">",
        "%",
        "@",
        ",",
    ),
    *("---\n", "no", "0640", "1:2", "\\", "\0", "\x85", "é", "authorities", "a: ", "? ", "<<: ", "~", "\ufeff", "\r"),
    *("credential:", "pkcs11:", "CN=", "%41", "(" * 50, "[" * 50),
)


def outcome(text: str) -> tuple[Settings | None, tuple[str, ...]]:
    """The settings in a text, or the mistakes."""
    try:
        return config.parse(text, source=SOURCE), ()
    except ConfigurationError as error:
        return None, error.mistakes


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A configuration in which a few pieces were cut out, doubled or replaced."""
    text = WHOLE
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        piece = draw(st.sampled_from(FRAGMENTS) | st.just(text[start:end] * 2) | st.text(max_size=3))
        text = text[:start] + piece + text[end:]
    return text


@example("\ud800: 1")
@example("a: \u2028")
@example("%YAML 9.9\n---\na: 1")
@example('subject-pattern: "(?<"')
@given(st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("".join) | damaged())
def test_any_text_is_either_settings_or_a_configuration_error_within_a_second(text: str) -> None:
    start = time.process_time()
    settings, lines = outcome(text)
    assert time.process_time() - start < 1
    assert isinstance(settings, Settings) or lines
    for line in lines:
        assert line.startswith(f"{SOURCE}:")
        assert line.isprintable()
        assert line.endswith(")")


@given(damaged())
def test_the_two_parsers_of_pyyaml_never_lead_to_different_settings(text: str) -> None:
    """They differ in what they refuse: a tab in front of a colon, for one."""
    fast, _ = outcome(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(yaml, "CSafeLoader", raising=False)
        slow, _ = outcome(text)
    assert slow == fast or None in (slow, fast)
