"""The control socket ``io.enrolld.control``: who may ask what, and what the daemon does then.

The interface is in ``io.enrolld.control.varlink`` beside this file; ``varlinkctl`` and ``enrollctl`` speak it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent import __version__, structure
from agent.contract import Action, Outcome, Verdict
from agent.control_client import INTERFACE, METHODS, SOCKET, WISHES
from agent.events import Event
from agent.frozen import frozen
from agent.supervisor.jobs import basis
from agent.supervisor.listening import Server
from agent.supervisor.varlink import Call, Errors, Peer

if TYPE_CHECKING:
    from agent.supervisor.keeper import Keeper
    from agent.supervisor.loop import Loop
    from agent.supervisor.telling import Teller

_SERVICE: Final = "org.varlink.service"
_ROOT: Final = 0
_AT_A_TIME: Final = 16
"""Identities that are looked at in one turn of the loop, and told in one answer where there may be several."""
_ERRORS: Final = Errors(
    not_understood=f"{INTERFACE}.NotUnderstood",
    too_many=f"{INTERFACE}.TooManyClients",
    too_slow=f"{INTERFACE}.TooSlow",
)


class Wrong(Exception):
    """A call cannot be answered: the error's full name and its parameters."""

    def __init__(self, error: str, **parameters: Any) -> None:
        """Keep both."""
        super().__init__(error)
        self.error = error
        self.parameters = parameters


@frozen
class _Method:
    """What is done when a method is called, and the parameters that it takes, with their types."""

    do: Callable[[Call], None]
    takes: Mapping[str, type] = field(default_factory=dict)
    acts: bool = False
    """Whether it changes anything."""


@frozen
class _Follower:
    """Who waits for the outcome of a job; ``stay``: while the CA is undecided too."""

    call: Call
    action: Action
    stay: bool


class Control:
    """Answers calls. ``reload`` reads the configuration again."""

    def __init__(self, loop: Loop, keeper: Keeper, teller: Teller, directory: Path, reload: Callable[[], None]) -> None:
        """Listen in ``directory``. Raise :class:`OSError` when that cannot be done."""
        self._keeper = keeper
        self._teller = teller
        self._reload = reload
        self._following: dict[str, list[_Follower]] = {}
        """By the name of the identity."""
        self._subscribers: list[Call] = []
        name: dict[str, type] = {"name": str}
        self._methods = {
            f"{_SERVICE}.GetInfo": _Method(_get_info),
            f"{_SERVICE}.GetInterfaceDescription": _Method(_describe_interface, {"interface": str}),
            f"{INTERFACE}.List": _Method(self._list),
            f"{INTERFACE}.Describe": _Method(self._describe, name),
            f"{INTERFACE}.GetSettings": _Method(self._get_settings, name),
            f"{INTERFACE}.Subscribe": _Method(self._subscribe),
            f"{INTERFACE}.Retry": _Method(self._retry, name, acts=True),
            f"{INTERFACE}.Reload": _Method(self._read_again, acts=True),
        }
        for action, method in METHODS.items():
            wishes: dict[str, type] = dict.fromkeys(WISHES[action], bool)
            self._methods[f"{INTERFACE}.{method}"] = _Method(self._job(action), name | wishes, acts=True)
        self._server = Server(loop, directory / SOCKET, self._called, errors=_ERRORS, first=may_act)
        self.directory = directory
        """Where it listens."""
        teller.listeners.append(self._happened)
        keeper.on_settled.append(self._settled)

    def move(self, directory: Path) -> None:
        """Listen in ``directory`` instead. Raise :class:`OSError`: nothing has changed then."""
        self._server.move(directory / SOCKET)
        self.directory = directory

    def close(self) -> None:
        """Listen no longer."""
        self._server.close()

    def _called(self, call: Call) -> None:
        if not may_read(call.peer):
            call.client.dismiss(f"{INTERFACE}.NotPermitted", needed="root, or the user or group of enrolld")
            return
        try:
            self._do(call)
        except Wrong as error:
            call.refuse(error.error, **error.parameters)
        except Exception as error:  # noqa: BLE001 - who asks must not end the daemon
            reason = f"{type(error).__name__}: {error}"
            remedy = "Restart enrolld if it was updated: 'systemctl restart enrolld'; otherwise report it."
            self._teller.tell(Event.NOTE, {"REMEDY": remedy}, note=f"a call of {call.method} was in vain: {reason}")
            call.refuse(f"{INTERFACE}.Defect", reason=reason)

    def _do(self, call: Call) -> None:
        method = self._methods.get(call.method)
        if method is None:
            raise _unknown(call.method)
        if method.acts:
            self._demand_right_to_act(call)
        _check_parameters(call, method.takes)
        method.do(call)

    def _demand_right_to_act(self, call: Call) -> None:
        if not may_act(call.peer):
            raise Wrong(f"{INTERFACE}.NotPermitted", needed="root, or the user of enrolld")
        if self._keeper.stopping:
            raise Wrong(f"{INTERFACE}.Ending")

    # --- reading ------------------------------------------------------------------------------------------------------

    def _list(self, call: Call) -> None:
        self._list_on(call, deque(self._keeper.configuration.identities), [])

    def _list_on(self, call: Call, left: deque[str], shown: list[dict[str, Any]]) -> None:
        """Look at the next ones; tell them at once who wants more, and when all are ``shown`` whoever does not."""
        if not call.open:
            return
        some = [left.popleft() for _ in range(min(_AT_A_TIME, len(left)))]
        # A reload may have dropped some of them meanwhile.
        shown += [self._shown(name) for name in some if name in self._keeper.configuration.identities]
        if not left or (shown and call.more):
            call.answer({"identities": shown}, continues=bool(left))
            shown = []
        if left:
            call.when_read(partial(self._list_on, call, left, shown))

    def _describe(self, call: Call) -> None:
        call.answer({"identity": self._shown(self._name(call))})

    def _get_settings(self, call: Call) -> None:
        name = self._name(call)
        call.answer({"settings": basis(self._keeper.configuration.settings_of(name), name)})

    def _subscribe(self, call: Call) -> None:
        if not call.more:
            raise Wrong(f"{_SERVICE}.ExpectedMore")
        self._subscribers.append(call)

    def _shown(self, name: str) -> dict[str, Any]:
        seen = self._keeper.look_at(name)
        kept = self._keeper.identities[name]
        if kept.next_at is not None and seen.next_action is None:
            at = kept.next_at.isoformat(timespec="seconds")
            seen = replace(seen, next_action=kept.next_action, next_action_at=at)
        if kept.trouble:
            seen = replace(seen, last_error=kept.trouble, remedy=kept.remedy)
        place = str(self._keeper.configuration.settings_of(name).state_directory)
        found = structure.to_json(replace(seen, running=kept.work is not None)) | {"state-directory": place}
        return _in_varlink(found)

    # --- acting -------------------------------------------------------------------------------------------------------

    def _job(self, action: Action) -> Callable[[Call], None]:
        def start(call: Call) -> None:
            name = self._name(call)
            running = self._keeper.at_work(name)
            if running not in {None, action}:
                raise Wrong(f"{INTERFACE}.Busy", job=running)
            stay = call.more and call.parameters.get("stay") is True
            self._following.setdefault(name, []).append(_Follower(call, action, stay))
            again = "again" not in WISHES[action] or call.parameters.get("again") is True
            self._keeper.order(name, action, again=again)

        return start

    def _retry(self, call: Call) -> None:
        if call.parameters.get("name") is None:
            self._keeper.wake_all()
        else:
            self._keeper.wake(self._name(call))
        call.answer({})

    def _read_again(self, call: Call) -> None:
        self._reload()
        call.answer({})

    def _name(self, call: Call) -> str:
        name = _text(call, "name")
        if name not in self._keeper.configuration.identities:
            raise Wrong(f"{INTERFACE}.NoSuchIdentity", name=name)
        return name

    # --- telling ------------------------------------------------------------------------------------------------------

    def _happened(self, event: str, text: str, fields: Mapping[str, str]) -> None:
        self._subscribers = [one for one in self._subscribers if one.open]
        followers = [one.call for one in self._following.get(fields.get("IDENTITY", ""), []) if one.call.more]
        for call in (*self._subscribers, *followers):
            call.answer({"event": {"event": event, "text": text, "fields": dict(fields)}}, continues=True)

    def _settled(self, name: str, action: Action | None, outcome: Outcome) -> None:
        found = structure.to_json(outcome)
        stayed = []
        for one in self._following.pop(name, []):
            # A job of another kind, while the CA is undecided about this one, is not what was asked for.
            ours = action in {None, one.action}
            stays = one.call.open and (not ours or (one.stay and outcome.verdict is Verdict.WAITING))
            if ours:
                one.call.answer({"outcome": found}, continues=stays)
            if stays:
                stayed.append(one)
        if stayed:
            self._following[name] = stayed


def _in_varlink(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document of ours with the names that Varlink allows: underscores, not hyphens."""
    return {
        key.replace("-", "_"): [_in_varlink(one) for one in value] if isinstance(value, list) else value
        for key, value in document.items()
    }


def may_read(peer: Peer) -> bool:
    """Tell whether a peer may ask: root, the daemon's own user, or its group."""
    return may_act(peer) or os.getegid() in peer.groups


def may_act(peer: Peer) -> bool:
    """Tell whether a peer may have something done: root, or the daemon's own user."""
    return peer.user in {_ROOT, os.geteuid()}


def _get_info(call: Call) -> None:
    call.answer(
        {
            "vendor": "enrolld",
            "product": "enrolld",
            "version": __version__,
            "url": "https://varlink.org/",
            "interfaces": [_SERVICE, INTERFACE],
        }
    )


def _describe_interface(call: Call) -> None:
    name = _text(call, "interface")
    if name not in {_SERVICE, INTERFACE}:
        raise Wrong(f"{_SERVICE}.InterfaceNotFound", interface=name)
    call.answer({"description": Path(__file__).with_name(f"{name}.varlink").read_text(encoding="ascii")})


def _check_parameters(call: Call, takes: Mapping[str, type]) -> None:
    """Refuse a parameter that the method does not have, or not of this type: it would be asked for in vain."""
    for name, value in call.parameters.items():
        if value is not None and not (name in takes and isinstance(value, takes[name])):
            raise Wrong(f"{_SERVICE}.InvalidParameter", parameter=name)


def _text(call: Call, name: str) -> str:
    value = call.parameters.get(name)
    if not isinstance(value, str):
        raise Wrong(f"{_SERVICE}.InvalidParameter", parameter=name)
    return value


def _unknown(method: str) -> Wrong:
    interface, _, name = method.rpartition(".")
    if interface in {_SERVICE, INTERFACE}:
        return Wrong(f"{_SERVICE}.MethodNotFound", method=name)
    return Wrong(f"{_SERVICE}.InterfaceNotFound", interface=interface)
