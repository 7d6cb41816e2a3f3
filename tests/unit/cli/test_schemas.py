"""Every command that has ``--json`` prints what its published schema says, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import fastjsonschema
import pytest

from agent.cli import schemas
from agent.cli.main import COMMANDS, cli
from tests.printed import valid
from tests.station import Station

ON_A_TOKEN = {"token list", "token probe"}
"""Run and held to their schema by tests/hsm/test_command.py."""


def commands(group: click.Group, start: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{start}{name} ")
        else:
            yield f"{start}{name}", command


WITH_JSON = {name for name, one in commands(cli) if any("--json" in parameter.opts for parameter in one.params)}


def test_every_command_with_json_has_one_schema() -> None:
    printed = [command for names in schemas.PRINTED.values() for command in names]
    assert sorted(printed) == sorted(WITH_JSON)
    assert len(WITH_JSON) > len(COMMANDS) // 2


@pytest.mark.parametrize("name", schemas.documents())
def test_the_published_schemas_are_those_of_the_code(name: str) -> None:
    same = (schemas.FOLDER / name).read_text() == schemas.documents()[name]
    assert same, f"{name} is out of date; write it anew with: python -m agent.cli.schemas"


def test_nothing_else_is_published() -> None:
    assert {path.name for path in schemas.FOLDER.iterdir()} == set(schemas.documents())


@pytest.mark.parametrize("name", schemas.documents())
def test_a_schema_is_closed_in_every_object(name: str) -> None:
    """What is not in it is refused, so that a key that a command adds is noticed."""

    def objects(schema: Any) -> Iterator[dict[str, Any]]:
        if isinstance(schema, list):
            for one in schema:
                yield from objects(one)
        elif isinstance(schema, dict):
            if schema.get("type") == "object":
                yield schema
            for one in schema.values():
                yield from objects(one)

    found = list(objects(json.loads(schemas.documents()[name])))
    assert found
    for one in found:
        assert one["additionalProperties"] is False or "properties" not in one


def test_each_of_them_prints_what_its_schema_says(station: Station, tmp_path: Path) -> None:
    (files := tmp_path / "files").mkdir(mode=0o750)
    station.identity["deploy"] = [{"directory": {"path": str(files)}}]
    station.configure()
    sample = next((Path(__file__).parents[2] / "vectors").rglob("*.der"))
    lives = (
        ("status",), ("doctor",), ("template",), ("enroll",), ("renew",), ("renew", "--if-due"), ("refresh",),
        ("deploy",), ("retry",), ("status",), ("status", "ike"), ("doctor", "ike"), ("rollback",), ("turn-up",),
        ("explain",), ("explain", "badPOP"), ("decode", str(sample)),
        ("capture", "--offline", "--output", str(tmp_path / "bundle.tar.gz")),
        ("revoke", "ike", "--yes"), ("status",),
    )  # fmt: skip
    of = {command: name for name, names in schemas.PRINTED.items() for command in names}
    for arguments in lives:
        done = station.run(*arguments, "--json")
        assert done.code in {0, 1}, (arguments, done.err)
        valid(of[arguments[0]], done.out)
    assert {arguments[0] for arguments in lives} == WITH_JSON - ON_A_TOKEN


def test_a_failure_is_printed_in_the_same_form(station: Station) -> None:
    station.configure(urls=["http://127.0.0.1:9/.well-known/cmp"])
    for command in ("enroll", "template", "retry"):
        done = station.run(command, "--json")
        assert done.code == 1
        assert valid("outcome", done.out)["verdict"] == "unreachable"
    (seen,) = valid("status", station.run("status", "--json").out)
    assert seen["last-error"]
    assert valid("doctor", station.run("doctor", "--json").out)["failed"]


def test_a_schema_refuses_what_is_another_thing() -> None:
    with pytest.raises(fastjsonschema.JsonSchemaException):
        valid("status", json.dumps([{"name": "ike", "state": 7}]))
    with pytest.raises(fastjsonschema.JsonSchemaException):
        valid("capture", json.dumps({"file": "x", "members": [], "more": 1}))
