from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent import config
from agent.config.reference import documents, example
from agent.errors import ConfigurationError
from agent.settings import Settings
from agent.structure import to_json

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "config").glob("*.yaml"), *(ROOT / "config/examples").glob("*.yaml")])


@pytest.mark.parametrize("name", documents())
def test_the_generated_files_in_the_repository_are_up_to_date(name: str) -> None:
    same = (ROOT / name).read_text() == documents()[name]
    assert same, f"{name} is out of date; write it anew with: python -m agent.config.reference"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_we_ship_loads_without_a_warning(path: Path) -> None:
    assert config.warnings(config.load(path)) == ()


def test_there_is_one_example_for_each_deployment() -> None:
    assert {path.stem for path in FILES} == {"enrolld", "enodeb", "seg", "vnf"}


def commented_out(text: str) -> list[str]:
    return [line for line in text.splitlines() if re.match(r" *#[^ ]", line)]


def settings_of(text: str) -> Settings:
    return config.parse(text, source=Path("/etc/enrolld/enrolld.yaml"))


def test_the_commented_file_loads_without_its_comments() -> None:
    live = "".join(line for line in example().splitlines(keepends=True) if not line.lstrip().startswith("#"))
    assert settings_of(live) == settings_of(example())


def test_the_commented_file_loads_with_every_optional_key_taken_out_of_its_comment() -> None:
    text = re.sub(r"(?m)^( *)#(?=[^ \n])", r"\1", example())
    assert not commented_out(text)
    settings = settings_of(text)
    assert settings.authorities["operator"].http.proxy == "http://proxy.example:3128"
    assert len(settings.identities["ike"].deploy) == 3
    assert config.warnings(settings) == ()


def test_the_alternative_in_the_commented_file_loads_in_place_of_the_first() -> None:
    lines = example().splitlines()
    first = next(number for number, line in enumerate(lines) if line == "      shared-secret:")
    other = next(number for number, line in enumerate(lines) if line == "      # or instead:")
    end = next(number for number in range(other, len(lines)) if not lines[number])
    alternative = [line.replace("# ", "", 1) for line in lines[other + 1 : end]]
    settings = settings_of("\n".join(lines[:first] + alternative + lines[end:]))
    vendor = settings.identities["ike"].bootstrap.vendor_certificate
    assert vendor is not None
    assert vendor.certificate == Path("/etc/enrolld/vendor.pem")


def test_the_defaults_in_the_commented_file_are_the_defaults() -> None:
    """Every key whose comment shows a default changes nothing when it is set."""
    text = example()
    before = settings_of(text)
    shown = {"profile", "implicit-confirmation", "request", "state-directory", "runtime-directory"}
    for line in commented_out(text):
        key = line.strip().removeprefix("#").partition(":")[0]
        if key in shown:
            shown.remove(key)
            assert settings_of(text.replace(line, line.replace("#", ""))) == before
    assert not shown


# ------------------------------------------------------------------------------------------------ JSON Schema


def problems(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> list[str]:
    """Check a value against the part of JSON Schema that ours uses; a keyword of another part is a defect."""
    if "$ref" in schema:
        return problems(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    found = [
        problem
        for keyword, rule in schema.items()
        if keyword not in NOTES
        for problem in KEYWORDS[keyword](value, rule, root)
    ]
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for key, one in value.items():
            below = known.get(key, schema["additionalProperties"])
            found += [f"{key} is unknown"] if below is False else [f"{key}.{it}" for it in problems(one, below, root)]
    return found


def kinds(value: Any) -> set[str]:
    match value:
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number"}
    return {{str: "string", list: "array", dict: "object", type(None): "null"}[type(value)]}


def bad(text: str, *, when: bool) -> list[str]:
    return [text] if when else []


NOTES = {"$schema", "$comment", "$defs", "title", "description", "default", "properties", "additionalProperties"}
KEYWORDS: dict[str, Any] = {
    "type": lambda value, rule, _: bad(
        f"is no {rule}", when=not kinds(value) & ({rule} if isinstance(rule, str) else set(rule))
    ),
    "enum": lambda value, rule, _: bad(f"is none of {rule}", when=value not in rule),
    "const": lambda value, rule, _: bad(f"is not {rule}", when=value != rule),
    "anyOf": lambda value, rule, root: bad("fits nothing", when=all(problems(value, one, root) for one in rule)),
    "required": lambda value, rule, _: [f"{key} is missing" for key in rule if key not in value],
    "items": lambda value, rule, root: [it for one in value for it in problems(one, rule, root)],
    "pattern": lambda value, rule, _: bad(f"is no {rule}", when=isinstance(value, str) and not re.search(rule, value)),
    "propertyNames": lambda value, rule, _: [key for key in value if not re.search(rule["pattern"], key)],
    "minimum": lambda value, rule, _: bad("is too small", when=not isinstance(value, str) and value < rule),
    "maximum": lambda value, rule, _: bad("is too large", when=not isinstance(value, str) and value > rule),
    "minLength": lambda value, rule, _: bad("is too short", when=isinstance(value, str) and len(value) < rule),
    "minItems": lambda value, rule, _: bad("has too few", when=len(value) < rule),
    "maxItems": lambda value, rule, _: bad("has too many", when=len(value) > rule),
    "minProperties": lambda value, rule, _: bad("has too few keys", when=len(value) < rule),
    "maxProperties": lambda value, rule, _: bad("has too many keys", when=len(value) > rule),
}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "config/enrolld.schema.json").read_text())
    return document


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_schema_accepts_every_file_we_ship(path: Path, schema: dict[str, Any]) -> None:
    """As an editor sees it, and with all defaults."""
    assert problems(yaml.safe_load(path.read_text()), schema, schema) == []
    assert problems(to_json(config.load(path)), schema, schema) == []


def test_the_schema_accepts_every_key_of_the_commented_file(schema: dict[str, Any]) -> None:
    text = re.sub(r"(?m)^( *)#(?=[^ \n])", r"\1", example())
    assert problems(to_json(settings_of(text)), schema, schema) == []


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("http", {"connect-timout": 1}, "connect-timout is unknown"),
        ("http", {"maximum-response": 1}, "is too small"),
        ("http", {"connect-timeout": "soon"}, "is no ^"),
        ("http", {"connect-timeout": 601}, "is too large"),
        ("mac", {"algorithm": "md5"}, "is none of"),
        ("mac", {"iterations": "10"}, "is no integer"),
        ("urls", [], "has too few"),
        ("urls", ["ftp://a.example"], "is no ^"),
        ("trust-anchors", "enrolment", "fits nothing"),
        ("profile", "4gpp", "is none of"),
        ("implicit-confirmation", "yes", "is no boolean"),
        ("sender", "", "is no ^"),
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(key: str, value: object, said: str, schema: dict[str, Any]) -> None:
    document = to_json(settings_of(example()))
    document["authorities"]["operator"][key] = value
    assert any(said in problem for problem in problems(document, schema, schema))
    with pytest.raises(ConfigurationError):
        settings_of(json.dumps(document))


def test_the_schema_knows_that_one_key_excludes_the_other(schema: dict[str, Any]) -> None:
    document = to_json(settings_of(example()))
    document["identities"]["ike"]["bootstrap"] = {}
    assert any("has too few keys" in problem for problem in problems(document, schema, schema))
    document["identities"] = {"a/b": {}}
    assert {"a/b", "identities.a/b.authority is missing"} & set(problems(document, schema, schema))


# ------------------------------------------------------------------------------------------------ manual


def test_the_manual_explains_every_key() -> None:
    manual = documents()["docs/configuration.md"]
    for section in json.loads(documents()["config/enrolld.schema.json"])["$defs"].values():
        for key, rules in section["properties"].items():
            assert f"| `{key}` |" in manual
            assert rules["description"] in manual


def test_every_table_of_the_manual_is_whole() -> None:
    for block in documents()["docs/configuration.md"].split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, block
