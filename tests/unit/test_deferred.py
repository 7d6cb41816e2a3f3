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
    with pytest.raises(ImportError):
        _ = sys.modules["no_such_module_of_ours"].anything
    assert "no_such_module_of_ours" not in sys.modules
    with pytest.raises(AttributeError):
        _ = sys.modules["colorsys"].no_such_name


def test_a_pattern_is_compiled_by_its_first_use_and_then_does_what_patterns_do() -> None:
    script = """
import re
from agent import deferred
compiling = re.compile
with deferred.on_demand():
    used = re.compile("(a+)b", re.IGNORECASE)
    first = used.fullmatch("AAB")
    unused = re.compile("(")
print(first.group(1), used.sub("x", "aabAB"), used.pattern, used.flags == compiling("(a+)b", re.I).flags)
print(re.compile is compiling)
try:
    unused.match("")
except re.error as error:
    print(error)
"""
    assert said(script).splitlines() == ["AA xx (a+)b True", "True", "missing ), unterminated subpattern at position 0"]


def test_a_worker_is_ready_without_what_its_libraries_never_use_for_it() -> None:
    script = """
import sys
from agent.worker.__main__ import load
load("agent.cmp.codec")
unused = (
    "ast", "dis", "random", "email.charset", "hashlib", "hmac", "ipaddress", "logging",
    "agent.cmp.schema", "pyasn1.type.univ", "pyasn1.codec.der.decoder", "pyasn1.debug",
    "cryptography.hazmat.primitives.serialization.ssh",
)
print([name for name in unused if isinstance(vars(sys.modules.get(name, object)).get("__file__"), str)])
"""
    assert said(script) == "[]"


def test_what_was_imported_on_demand_works_whole_when_it_is_asked_for() -> None:
    script = r"""
from agent import deferred
with deferred.on_demand():
    from dataclasses import dataclass
    from email.utils import parseaddr
    from cryptography import x509
    @dataclass
    class Undescribed:
        one: int = 1
import inspect
print(Undescribed.__doc__, inspect.signature(Undescribed))
print(x509.Name.from_rfc4514_string(r"CN=a\,b+OU=\C3\A4,O=c").rfc4514_string())
print(x509.RFC822Name("site@operator.example").value, parseaddr("One <two@three.example>"))
try:
    x509.IPAddress("192.0.2.1")
except TypeError:
    import ipaddress
    print(x509.IPAddress(ipaddress.ip_address("192.0.2.1")).value)
import email.utils
print(email.utils.parseaddr is not parseaddr, email.utils.formataddr(("One", "two@three.example")))
"""
    assert said(script).splitlines() == [
        "Undescribed(...) (one: int = 1) -> None",
        r"CN=a\,b+OU=ä,O=c",
        "site@operator.example ('One', 'two@three.example')",
        "192.0.2.1",
        "True One <two@three.example>",
    ]


def test_keys_of_ssh_are_read_and_written_for_whoever_has_some() -> None:
    script = """
from agent import deferred
with deferred.on_demand():
    from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
key = Ed25519PrivateKey.generate().public_key()
line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
print(serialization.load_ssh_public_key(line) == key)
from cryptography.hazmat.primitives.serialization import ssh
print(ssh.__file__ is not None, serialization.ssh is ssh, ssh.SSHCertificateType(1).name)
"""
    assert said(script).splitlines() == ["True", "True True USER"]


def test_a_message_is_read_without_a_logger_and_pyasn1_has_one_when_it_is_asked_for() -> None:
    script = """
import sys
from agent import deferred
with deferred.on_demand():
    from pyasn1.codec.der import decoder, encoder
    from pyasn1.type import univ
print(decoder.decode(encoder.encode(univ.Integer(5)))[0], "logging" in sys.modules)
from pyasn1 import debug
print(debug.hexdump(b"\\x01").strip(), debug.Debug("all"), "logging" in sys.modules)
"""
    first, second = said(script).splitlines()
    assert first == "5 False"
    assert second.endswith("True")
