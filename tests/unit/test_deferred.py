"""What is deferred is not loaded before it is used, and is the module itself from then on."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from agent import deferred


def said(script: str) -> str:
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_deferred_module_is_loaded_by_its_first_use_and_not_by_an_import() -> None:
    script = """
import sys
from agent import deferred
deferred.defer("colorsys")
import colorsys
before = "ONE_THIRD" in vars(colorsys)
print(before, colorsys.rgb_to_hsv(1, 1, 1), "ONE_THIRD" in vars(colorsys), sys.modules["colorsys"].__file__)
from colorsys import hls_to_rgb
print(hls_to_rgb is colorsys.hls_to_rgb)
"""
    first, second = said(script).splitlines()
    assert first.startswith("False (0.0, 0.0, 1) True /")
    assert first.endswith("colorsys.py")
    assert second == "True"


def test_inspect_works_for_whoever_does_need_it() -> None:
    script = """
import agent.supervisor.daemon, inspect, ipaddress
print(inspect.signature(lambda a, *, b=1: None), ipaddress.ip_address("::1").is_loopback, inspect.isclass(int))
"""
    assert said(script) == "(a, *, b=1) True True"


def test_the_annotations_of_a_class_need_no_inspect_and_are_those_that_it_gives() -> None:
    script = """
import agent, sys, inspect
class Empty: pass
class One:
    a: int = 1
class Two(One):
    b: "str"
def function(a: "int") -> None: pass
classes = (Empty, One, Two, int, type)
before = [inspect.get_annotations(one) for one in classes]
print(before, "ast" in sys.modules)
late = inspect.get_annotations
print(late(function), late(Two, eval_str=True), inspect.signature(function))
print(before == [inspect.get_annotations(one) for one in classes], inspect.get_annotations is not late)
"""
    first, second, third = said(script).splitlines()
    assert first == f"[{{}}, {{'a': {int}}}, {{'b': 'str'}}, {{}}, {{}}] False"
    assert second == f"{{'a': 'int', 'return': None}} {{'b': {str}}} (a: 'int') -> None"
    assert third == "True True"


def test_a_module_that_is_loaded_stays_as_it_is() -> None:
    before = sys.modules["subprocess"]
    deferred.defer("subprocess")
    assert sys.modules["subprocess"] is before


def test_a_module_that_is_not_there_is_an_import_error_and_a_name_that_is_not_in_it_an_attribute_error() -> None:
    deferred.defer("no_such_module_of_ours")
    deferred.defer("colorsys")
    with pytest.raises(ImportError):
        importlib.import_module("no_such_module_of_ours.inner")
    with pytest.raises(AttributeError):
        _ = sys.modules["colorsys"].no_such_name
