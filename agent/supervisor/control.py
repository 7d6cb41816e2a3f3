"""The control socket ``io.enrolld.control``: who may ask what, and what the daemon does then.

The interface is in ``io.enrolld.control.varlink`` beside this file; ``varlinkctl`` and ``enrollctl`` speak it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from agent import __version__, structure
from agent.contract import Action, Outcome, Verdict
from agent.control_client import INTERFACE, METHODS, SOCKET
from agent.errors import AgentError
from agent.frozen import frozen
from agent.overview import Overview, look
from agent.supervisor.jobs import basis
from agent.supervisor.varlink import Client, Peer, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.supervisor.keeper import Keeper
    from agent.supervisor.loop import Loop
    from agent.supervisor.telling import Teller

_SERVICE: Final = "org.varlink.service"
_ROOT: Final = 0
_SHOWN: Final = (
    *("name", "state", "since", "subject", "serial", "not_before", "not_after", "usable", "open_request"),
    *("attempts", "last_error", "remedy", "next_action", "next_action_at"),
)


class Wrong(Exception):
    """A call cannot be answered: the error's full name and its parameters."""

    def __init__(self, error: str, **parameters: Any) -> None:
        """Keep both."""
        super().__init__(error)
        self.error = error
        self.parameters = parameters


@frozen
class _Follower:
    """Who waits for the outcome of a job: ``more``: and wants every step; ``stay``: while the CA is undecided too."""

    client: Client
    action: Action
    more: bool
    stay: bool


class Control:
    """Answers calls. ``reload`` reads the configuration again."""

    def __init__(self, loop: Loop, keeper: Keeper, teller: Teller, directory: Path, reload: Callable[[], None]) -> None:
        """Listen in ``directory``. Raise :class:`OSError` when that cannot be done."""
        self._keeper = keeper
        self._reload = reload
        self._following: dict[str, list[_Follower]] = {}
        """By the name of the identity."""
        self._subscribers: list[Client] = []
        self._methods: dict[str, Callable[[Client, dict[str, Any], bool], None]] = {
            f"{_SERVICE}.GetInfo": self._get_info,
            f"{_SERVICE}.GetInterfaceDescription": self._describe_interface,
            f"{INTERFACE}.List": self._list,
            f"{INTERFACE}.Describe": self._describe,
            f"{INTERFACE}.GetSettings": self._get_settings,
            f"{INTERFACE}.Subscribe": self._subscribe,
            f"{INTERFACE}.Retry": _acting(self._retry),
            f"{INTERFACE}.Reload": _acting(self._read_again),
        }
        for action, method in METHODS.items():
            self._methods[f"{INTERFACE}.{method}"] = _acting(self._job(action))
        self._server = Server(loop, directory / SOCKET, self._called)
        teller.listeners.append(self._happened)
        keeper.on_settled.append(self._settled)

    def close(self) -> None:
        """Listen no longer."""
        self._server.close()

    def _called(self, client: Client, method: str, parameters: dict[str, Any], *, more: bool) -> None:
        if not may_read(client.peer):
            client.refuse(f"{INTERFACE}.NotPermitted", needed="root, or the user or group of enrolld")
            client.close()
            return
        try:
            self._methods.get(method, _unknown(method))(client, parameters, more)
        except Wrong as error:
            client.refuse(error.error, **error.parameters)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _get_info(self, client: Client, _: dict[str, Any], __: bool) -> None:  # noqa: FBT001 - as all methods
        client.answer(
            {
                "vendor": "enrolld",
                "product": "enrolld",
                "version": __version__,
                "url": "https://varlink.org/",
                "interfaces": [_SERVICE, INTERFACE],
            }
        )

    def _describe_interface(self, client: Client, parameters: dict[str, Any], _: bool) -> None:  # noqa: FBT001
        name = _text(parameters, "interface")
        if name not in {_SERVICE, INTERFACE}:
            raise Wrong(f"{_SERVICE}.InterfaceNotFound", interface=name)
        client.answer({"description": Path(__file__).with_name(f"{name}.varlink").read_text(encoding="ascii")})

    def _list(self, client: Client, _: dict[str, Any], __: bool) -> None:  # noqa: FBT001
        client.answer({"identities": [self._shown(name) for name in self._keeper.configuration.identities]})

    def _describe(self, client: Client, parameters: dict[str, Any], _: bool) -> None:  # noqa: FBT001
        client.answer({"identity": self._shown(self._name(parameters))})

    def _get_settings(self, client: Client, parameters: dict[str, Any], _: bool) -> None:  # noqa: FBT001
        name = self._name(parameters)
        client.answer({"settings": basis(self._keeper.configuration.settings_of(name), name)})

    def _subscribe(self, client: Client, _: dict[str, Any], more: bool) -> None:  # noqa: FBT001
        if not more:
            raise Wrong(f"{_SERVICE}.ExpectedMore")
        self._subscribers.append(client)

    def _shown(self, name: str) -> dict[str, Any]:
        settings = self._keeper.configuration.settings_of(name)
        try:
            seen = look(settings.state_directory, name, settings.identities[name])
        except AgentError as error:
            seen = Overview(name=name, state="unreadable", last_error=str(error), remedy=error.remedy)
        found = {field: getattr(seen, field) for field in _SHOWN}
        kept = self._keeper.identities[name]
        if kept.next_at is not None and seen.next_action is None:
            found |= {"next_action": kept.next_action, "next_action_at": kept.next_at.isoformat(timespec="seconds")}
        return {key: value for key, value in found.items() if value is not None} | {"running": kept.work is not None}

    # --- acting -------------------------------------------------------------------------------------------------------

    def _job(self, action: Action) -> Callable[[Client, dict[str, Any], bool], None]:
        def start(client: Client, parameters: dict[str, Any], more: bool) -> None:  # noqa: FBT001
            name = self._name(parameters)
            running = self._keeper.at_work(name)
            if running not in {None, action}:
                raise Wrong(f"{INTERFACE}.Busy", job=running)
            stay = more and parameters.get("stay") is True
            self._following.setdefault(name, []).append(_Follower(client, action, more, stay))
            self._keeper.order(name, action, again=action is not Action.ENROLL or parameters.get("again") is True)

        return start

    def _retry(self, client: Client, parameters: dict[str, Any], _: bool) -> None:  # noqa: FBT001
        if parameters.get("name") is None:
            self._keeper.wake_all()
        else:
            self._keeper.wake(self._name(parameters))
        client.answer({})

    def _read_again(self, client: Client, _: dict[str, Any], __: bool) -> None:  # noqa: FBT001
        self._reload()
        client.answer({})

    def _name(self, parameters: dict[str, Any]) -> str:
        name = _text(parameters, "name")
        if name not in self._keeper.configuration.identities:
            raise Wrong(f"{INTERFACE}.NoSuchIdentity", name=name)
        return name

    # --- telling ------------------------------------------------------------------------------------------------------

    def _happened(self, event: str, text: str, fields: Mapping[str, str]) -> None:
        self._subscribers = [one for one in self._subscribers if one.open]
        followers = [one.client for one in self._following.get(fields.get("IDENTITY", ""), []) if one.more]
        for client in (*self._subscribers, *followers):
            client.answer({"event": {"event": event, "text": text, "fields": dict(fields)}}, continues=True)

    def _settled(self, name: str, action: Action, outcome: Outcome) -> None:
        found = structure.to_json(outcome)
        stayed = []
        for one in self._following.pop(name, []):
            # A job of another kind, while the CA is undecided about this one, is not what was asked for.
            ours = one.action is action
            stays = one.client.open and (not ours or (one.stay and outcome.verdict is Verdict.WAITING))
            if ours:
                one.client.answer({"outcome": found}, continues=stays)
            if stays:
                stayed.append(one)
        if stayed:
            self._following[name] = stayed


def may_read(peer: Peer) -> bool:
    """Tell whether a peer may ask: root, the daemon's own user, or its group."""
    return may_act(peer) or os.getegid() in peer.groups


def may_act(peer: Peer) -> bool:
    """Tell whether a peer may have something done: root, or the daemon's own user."""
    return peer.user in {_ROOT, os.geteuid()}


def _acting(method: Callable[[Client, dict[str, Any], bool], None]) -> Callable[[Client, dict[str, Any], bool], None]:
    def permitted(client: Client, parameters: dict[str, Any], more: bool) -> None:  # noqa: FBT001
        if not may_act(client.peer):
            raise Wrong(f"{INTERFACE}.NotPermitted", needed="root, or the user of enrolld")
        method(client, parameters, more)

    return permitted


def _unknown(method: str) -> Callable[[Client, dict[str, Any], bool], None]:
    interface, _, name = method.rpartition(".")

    def refuse(*_: object) -> None:
        if interface in {_SERVICE, INTERFACE}:
            raise Wrong(f"{_SERVICE}.MethodNotFound", method=name)
        raise Wrong(f"{_SERVICE}.InterfaceNotFound", interface=interface)

    return refuse


def _text(parameters: dict[str, Any], name: str) -> str:
    value = parameters.get(name)
    if not isinstance(value, str):
        raise Wrong(f"{_SERVICE}.InvalidParameter", parameter=name)
    return value
