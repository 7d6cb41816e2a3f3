from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.contract import Action, Job, Outcome, Progress, Verdict
from agent.errors import AgentError
from agent.settings import (
    AuthoritySettings,
    BootstrapSettings,
    IdentitySettings,
    ProfileName,
    Settings,
    SharedSecretSettings,
    setting,
)
from agent.structure import StructureError, entry_type, from_json, members, to_json


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    some_path: Path
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    a_text: str
    a_number: int = 1
    a_share: float = 0.5
    a_truth: bool = False
    maybe: str | None = None
    must_say: int | None
    inner: Inner | None = None
    several: tuple[Inner, ...] = ()
    by_name: dict[str, float] = field(default_factory=dict)
    learned: tuple[str, ...] | None = setting("the word stands for None", default=(), word="later")


WHOLE = {"a-text": "x", "must-say": None}
WHOLE_FIELDS: dict[str, Any] = {"a_text": "x", "must_say": None}


def values(type_: Any) -> st.SearchStrategy[Any]:
    """Any value of a type that a document may hold."""
    if get_origin(type_) is tuple:
        return st.lists(values(entry_type(type_)), max_size=3).map(tuple)
    if get_origin(type_) is dict:
        return st.dictionaries(st.text(max_size=5), values(entry_type(type_)), max_size=2)
    if is_dataclass(type_):
        return objects(type_)
    if issubclass(type_, StrEnum):
        return st.sampled_from(type_)
    return {
        str: st.text(max_size=10),
        Path: st.text(max_size=10).map(Path),
        int: st.integers(),
        float: st.floats(allow_nan=False, allow_infinity=False),
        bool: st.booleans(),
    }[type_]


def objects(cls: Any) -> st.SearchStrategy[Any]:
    given_fields = {}
    for member in members(cls).values():
        each = values(member.type)
        given_fields[member.name] = st.none() | each if member.optional else each
    return st.builds(cls, **given_fields)


@pytest.mark.parametrize("cls", [Outer, Settings, Job, Outcome, Progress])
def test_what_is_written_as_json_reads_back_as_the_same_object(cls: type) -> None:
    @given(objects(cls))
    def holds(obj: Any) -> None:
        for brief in (False, True):
            assert from_json(cls, json.loads(json.dumps(to_json(obj, brief=brief), allow_nan=False))) == obj

    holds()


def test_a_document_is_kebab_case_and_leaves_out_none_where_it_is_the_default() -> None:
    obj = Outer(
        a_text="x", must_say=None, several=(Inner(some_path=Path("/y")),), by_name={"Under_Score": 2.0}, learned=None
    )
    assert to_json(obj) == {
        "a-text": "x",
        "a-number": 1,
        "a-share": 0.5,
        "a-truth": False,
        "must-say": None,
        "several": [{"some-path": "/y", "colour": "red"}],
        "by-name": {"Under_Score": 2.0},
        "learned": "later",
    }


def test_a_brief_document_leaves_out_what_has_its_default() -> None:
    inner = Inner(some_path=Path("/y"))
    obj = Outer(a_text="x", must_say=None, a_number=2, several=(inner,), learned=None)
    assert to_json(obj, brief=True) == {
        "a-text": "x",
        "must-say": None,
        "a-number": 2,
        "several": [{"some-path": "/y"}],
        "learned": "later",
    }
    assert to_json(Outer(**WHOLE_FIELDS), brief=True) == WHOLE


def test_keys_with_a_default_may_be_missing() -> None:
    assert from_json(Outer, WHOLE) == Outer(a_text="x", must_say=None)


def test_a_whole_number_does_for_a_number_with_a_fraction() -> None:
    share = from_json(Outer, {**WHOLE, "a-share": 3}).a_share
    assert (share, type(share)) == (3.0, float)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"a-txt": 1}, "a-txt: this key is unknown"),
        ({"a_text": "x"}, "a_text: this key is unknown"),
        ({"a-text": 1}, "a-text: expected a text, found an integer"),
        ({"a-text": None}, "a-text: expected a text, found null"),
        ({"a-number": True}, "a-number: expected an integer, found true or false"),
        ({"a-number": 1.0}, "a-number: expected an integer, found a number with a fraction"),
        ({"a-share": True}, "a-share: expected a number, found true or false"),
        ({"a-share": "1"}, "a-share: expected a number, found a text"),
        ({"a-share": math.inf}, "a-share: expected a finite number"),
        ({"a-share": 10**400}, "a-share: expected a finite number"),
        ({"a-truth": 0}, "a-truth: expected true or false, found an integer"),
        ({"inner": []}, "inner: expected an object, found a list"),
        ({"inner": {}}, "inner.some-path: this key is missing"),
        ({"inner": {"some-path": 1}}, "inner.some-path: expected a text, found an integer"),
        ({"inner": {"some-path": "", "colour": "rot"}}, "inner.colour: expected one of red, blue, found 'rot'"),
        ({"several": {}}, "several: expected a list, found an object"),
        ({"several": [{"some-path": ""}, 2]}, "several[1]: expected an object, found an integer"),
        ({"by-name": {"a": "b"}}, "by-name.a: expected a number, found a text"),
        ({"by-name": {1: 2}}, "by-name: expected a text, found an integer"),
        ({"learned": None}, "learned: expected a list, found null"),
        ({"learned": "now"}, "learned: expected a list, found a text"),
    ],
)
def test_a_wrong_document_is_refused_by_the_path_of_its_key(change: dict[str, object], said: str) -> None:
    with pytest.raises(StructureError) as caught:
        from_json(Outer, WHOLE | change)
    assert str(caught.value) == said
    assert isinstance(caught.value, AgentError)
    assert caught.value.remedy


@pytest.mark.parametrize("value", [None, [], "x", 1, True])
def test_a_document_that_is_no_object_is_refused(value: object) -> None:
    with pytest.raises(StructureError, match=r"^the document: expected an object, found "):
        from_json(Outer, value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(StructureError, match=r"^must-say: this key is missing$"):
        from_json(Outer, {"a-text": "x"})


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_a_number_json_cannot_hold_is_not_written(number: float) -> None:
    with pytest.raises(StructureError, match=r"^by-name\.deep: "):
        to_json(Outer(a_text="x", must_say=1, by_name={"deep": number}))


def test_a_long_wrong_word_is_shortened() -> None:
    with pytest.raises(StructureError) as caught:
        from_json(Inner, {"some-path": "", "colour": "x" * 10_000})
    assert len(str(caught.value)) < 200


def test_a_job_has_the_words_of_the_configuration() -> None:
    job = Job(
        action=Action.ENROLL,
        name="ike",
        identity=IdentitySettings(
            authority="operator",
            subject="CN=a",
            bootstrap=BootstrapSettings(shared_secret=SharedSecretSettings(reference="4711", secret="prompt")),
        ),
        authority=AuthoritySettings(urls=("http://ra/",), trust_anchors=None, profile=ProfileName.LIGHTWEIGHT),
        state_directory=Path("/var/lib/enrolld"),
        secret_descriptor=3,
    )
    document = to_json(job)
    assert document["authority"]["trust-anchors"] == "enrollment"
    assert document["identity"]["bootstrap"] == {"shared-secret": {"reference": "4711", "secret": "prompt"}}
    assert document["secret-descriptor"] == 3
    assert from_json(Job, document) == job


def test_an_outcome_of_an_unknown_verdict_is_refused() -> None:
    with pytest.raises(StructureError, match=r"^verdict: expected one of issued, "):
        from_json(Outcome, {"verdict": "finished", "text": ""})
    assert from_json(Outcome, {"verdict": "issued", "text": ""}).verdict is Verdict.ISSUED


def test_the_supervisor_can_read_documents_without_loading_yaml_or_cryptography() -> None:
    script = (
        "import sys, agent.contract, agent.structure, agent.units;"
        "sys.exit(bool({'yaml', 'cryptography', 'pyasn1', 'agent.config'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2], check=False).returncode == 0
