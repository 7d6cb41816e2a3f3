"""Real tokens for tests: SoftHSM2 in a folder of its own, behind a module of ours that misbehaves on demand."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hsm.module import TokenAddress
from hsm.pinmemory import PinMemory
from hsm.pkcs11 import TokenKeyStore
from tests.hsm.documented import commands

SOFTHSM: Final = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN: Final = b"1234"
SO_PIN: Final = "12345678"
_SOURCE: Final = Path(__file__).with_name("misbehaving.c")


def build(folder: Path) -> Path:
    """Build the misbehaving module; return it."""
    module = folder / "misbehaving.so"
    subprocess.run(
        [
            "gcc",
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Werror",
            "-I/usr/include/p11-kit-1",
            "-o",
            module,
            _SOURCE,
            "-ldl",
        ],
        check=True,
        timeout=60,
    )
    return module


@dataclass
class Token:
    """One SoftHSM token, labelled ``enb``; ``module`` stands between it and whoever uses it."""

    folder: Path
    module: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tokens.mkdir(parents=True)
        configuration = self.folder / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        self.orders.touch()
        self.environment |= {
            "SOFTHSM2_CONF": str(configuration),
            "MISBEHAVING_REAL": str(SOFTHSM),
            "MISBEHAVING_ORDERS": str(self.orders),
            "MISBEHAVING_COUNT": str(self.counted),
        }
        self.initialise()

    @property
    def tokens(self) -> Path:
        return self.folder / "tokens"

    @property
    def orders(self) -> Path:
        return self.folder / "orders"

    @property
    def counted(self) -> Path:
        return self.folder / "counted"

    @property
    def logins(self) -> list[str]:
        """What every C_Login returned."""
        return self.counted.read_text().split() if self.counted.exists() else []

    def initialise(self, label: str = "enb", pin: bytes = PIN) -> None:
        ((*command,),) = commands("softhsm2-util", enb=label)
        self._run(*command, "--so-pin", SO_PIN, "--pin", pin.decode())

    def order(self, *lines: str) -> None:
        """Have the module misbehave."""
        self.orders.write_text("".join(f"{line}\n" for line in lines))

    def unplug(self) -> None:
        self.tokens.rename(self.folder / "drawer")
        self.tokens.mkdir()

    def plug(self) -> None:
        self.tokens.rmdir()
        (self.folder / "drawer").rename(self.tokens)

    def tool(self, *arguments: str, pin: bytes = PIN) -> str:
        """Ask ``pkcs11-tool``, which knows nothing of us."""
        tool = ("pkcs11-tool", "--module", str(SOFTHSM), "--token-label", "enb", "--login", "--pin", pin.decode())
        return self._run(*tool, *arguments)

    def put(self, key: Path, label: str) -> None:
        """Put both halves of a key made elsewhere (PKCS #8, PEM) on the token, as a factory does."""
        self._run(
            "softhsm2-util", "--import", str(key), "--token", "enb", "--label", label, "--id", "4711", "--pin", "1234"
        )

    def settings(self, **others: Any) -> dict[str, Any]:
        """The section of the configuration; the PIN is in the file ``pin`` beside it."""
        return {"module": str(self.module), "label": "enb", "pin": "file:pin"} | others

    def store(self, memory: Path, pin: bytes | None = PIN, **address: Any) -> TokenKeyStore:
        where = TokenAddress(name="hsm", module=self.module, label="enb")
        return TokenKeyStore(replace(where, **address), pin, PinMemory(memory / "hsm.json"))

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            env={"PATH": os.environ["PATH"]} | self.environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return done.stdout
