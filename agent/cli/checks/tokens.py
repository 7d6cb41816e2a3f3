"""What the tokens say of themselves and of their PINs. Nobody logs in: a look must not cost a token a try."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.cli import desk
from agent.cli.checks.credentials import passed_by_systemd
from agent.cli.checks.registry import Finding, Scope, Site, check, failed, ok, skipped, warning
from agent.cli.checks.secret_files import fault_of
from agent.errors import PinError
from agent.supervisor.secrets import Wanted, read_secret

if TYPE_CHECKING:
    from pathlib import Path


@check("token", Scope.TOKEN)
def token(site: Site, name: str) -> Finding:
    """The token is plugged in, and is the one that the configuration means."""
    answer = desk.ask(site.given(), name, look=True)
    facts = answer.get("look")
    if facts is None:
        return failed(answer["text"], answer["remedy"])
    reason = f"{facts['label']}, serial {facts['serial']}, {facts['manufacturer']} {facts['model']}".rstrip()
    if facts["write-protected"]:
        return warning(
            f"{reason}; it is write-protected",
            "Lift that with the vendor's tool, or use a key that was made there beforehand (key.existing).",
        )
    return ok(reason)


@check("pin", Scope.TOKEN, needs=("configuration", "token"))
def pin(site: Site, name: str) -> Finding:
    """The PIN is set, not locked, at hand, and not one that the token refused. Nobody logs in to find that out."""
    facts = desk.ask(site.given(), name, look=True).get("look")
    if facts is None:
        return skipped("the token went while it was looked at")
    return _by_flags(facts, name) or _by_source(site, name, facts)


def _by_flags(facts: dict[str, Any], name: str) -> Finding | None:
    """Return what the token itself has to say against its PIN (PKCS#11 2.40, CK_TOKEN_INFO flags); some never do."""
    if facts["pin-locked"]:
        return failed(
            "the token has locked its PIN after too many wrong ones",
            "Unlock it with the SO PIN or PUK: pkcs11-tool --init-pin --login-type so, or tpm2_dictionarylockout -c.",
        )
    if not facts["pin-is-set"]:
        return failed(
            "the token has no user PIN yet",
            "Set one: pkcs11-tool --module MODULE --token-label LABEL --login --login-type so --init-pin.",
        )
    if facts["pin-nearly-locked"]:
        return failed(
            "one more wrong PIN locks the token, so none is tried without a person",
            f"Make sure that the PIN is right, then run 'enrollctl token probe {name}'.",
        )
    return None


def _by_source(site: Site, name: str, facts: dict[str, Any]) -> Finding:
    settings = site.given()
    source = settings.tokens[name].pin
    kind, _, value = source.partition(":")
    refused = settings.state_directory / "tokens" / f"{name}.json"
    if kind == "prompt":
        found = skipped("a person types it in")
    elif kind == "credential":
        found = passed_by_systemd(value, "PIN")
    else:
        found = _in_file(site, source, value, name)
        if found.status.value == "ok" and _is_remembered(refused) and _is_refused(site, name, facts["serial"]):
            return failed(
                f"the PIN in {value} is the one that the token refused; it is not tried again",
                f"Put the right one there; when it is right after all, run 'enrollctl token probe {name}'.",
            )
    if found.status.value in {"failed", "warning"}:
        return found
    if kind != "file" and _is_remembered(refused):
        return warning(
            "the token refused a PIN, and has accepted none since",
            f"Correct the PIN, then run 'enrollctl token probe {name}'.",
        )
    if facts["pin-was-wrong"]:
        return warning(
            "somebody gave the token a wrong PIN since the last login that went well",
            f"Run 'enrollctl token probe {name}' to see that the configured one is right.",
        )
    return found


def _in_file(site: Site, source: str, path: str, name: str) -> Finding:
    wanted = Wanted("PIN", f"the PIN of the token {name}", f"Find out the user PIN of {name}", PinError)
    found = ok(f"a PIN is in {path}, set and not locked; whether it is right, only a login tells")
    return fault_of(site, source, wanted) or found


def _is_remembered(refusal: Path) -> bool:
    """Tell whether a PIN was refused; that is nothing to whoever may not look into the state directory."""
    try:
        return refusal.exists()
    except PermissionError:
        return False


def _is_refused(site: Site, name: str, serial: str) -> bool:
    from agent.worker.keyring import MEMORY  # noqa: PLC0415 - only where there is a token
    from hsm.pinmemory import PinMemory  # noqa: PLC0415 - as above

    settings = site.given()
    memory = PinMemory(settings.state_directory / MEMORY / f"{name}.json")
    return memory.was_refused(read_secret(settings.tokens[name].pin, ask=None), serial)
