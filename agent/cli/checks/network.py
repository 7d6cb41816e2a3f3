"""The way to the authority, step by step: name, route and port, TLS, CMP."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent.cli.checks.registry import Finding, Scope, Site, check, failed, ok, skipped, warning
from agent.contract import Action, Job, Verdict

if TYPE_CHECKING:
    from agent.net.connection import Connection
    from agent.net.failures import Failure
    from agent.net.route import Route

_PATIENCE: Final = 10.0
"""Seconds to wait for one address at the most: somebody stands there and waits."""
_ANSWER: Final = 30.0


@check("name-resolution", Scope.AUTHORITY)
def name_resolution(site: Site, name: str) -> Finding:
    """Every address of the authority (or the proxy before it) has a known host."""
    from agent.net.failures import CAUSES, classify  # noqa: PLC0415 - the network is for the doctor only

    found, missing = [], []
    for route in _routes(site, name):
        try:
            found.append(f"{route.first_hop.host} is {route.resolve()[0].sockaddr[0]}")
        except OSError as error:
            cause, words = classify(error)
            missing.append((f"{route.first_hop.host}: {words}", CAUSES[cause].remedy))
    return _summary(found, missing)


@check("port", Scope.AUTHORITY, needs=("configuration", "name-resolution"))
def port(site: Site, name: str) -> Finding:
    """There is a route to the authority, and something listens at the port."""
    from agent.net.failures import CAUSES  # noqa: PLC0415 - as above

    found, missing = [], []
    for route in _routes(site, name):
        outcome = _connected(route, _patience(site, name), tls=False)
        if isinstance(outcome, str):
            found.append(outcome)
        else:
            missing.append((str(outcome), CAUSES[outcome.cause].remedy))
    return _summary(found, missing)


@check("tls", Scope.AUTHORITY, needs=("configuration", "name-resolution", "port"))
def tls(site: Site, name: str) -> Finding:
    """Where the address is https: the server's certificate is trusted and fits its name."""
    from agent.net.failures import CAUSES  # noqa: PLC0415 - as above

    secure = [route for route in _routes(site, name) if route.tls]
    if not secure:
        return skipped("the address is http; CMP protects its messages itself")
    found, missing = [], []
    for route in secure:
        outcome = _connected(route, _patience(site, name), tls=True)
        if isinstance(outcome, str):
            found.append(outcome)
        else:
            missing.append((str(outcome), CAUSES[outcome.cause].remedy))
    return _summary(found, missing)


@check("cmp", Scope.AUTHORITY, needs=("configuration", "name-resolution", "port", "tls"))
def cmp(site: Site, name: str) -> Finding:
    """A CMP server answers there. It is asked a harmless question (genm) in a process of its own; no secret is used."""
    from agent.supervisor import children  # noqa: PLC0415 - starts processes
    from agent.supervisor.secrets import Secrets  # noqa: PLC0415

    settings = site.given()
    users = [(one, identity) for one, identity in site.identities.items() if identity.authority == name]
    if not users:
        return skipped("no identity uses this authority")
    identity_name, identity = users[0]
    job = Job(
        action=Action.PROBE,
        name=identity_name,
        identity=identity,
        authority=settings.authorities[name],
        state_directory=settings.state_directory,
    )
    outcome = children.run_worker(job, Secrets(), lambda _: None, deadline=_ANSWER + _patience(site, name))
    if outcome.verdict is Verdict.DONE:
        return ok(outcome.text)
    if outcome.verdict is Verdict.WAITING:
        return warning(outcome.text, "The CA is busy; nothing is wrong here.")
    return failed(outcome.text, outcome.remedy)


def _routes(site: Site, name: str) -> tuple[Route, ...]:
    from agent.net.route import routes  # noqa: PLC0415 - as above

    authority = site.given().authorities[name]
    return routes(authority.urls, authority.http)


def _patience(site: Site, name: str) -> float:
    return min(site.given().authorities[name].http.connect_timeout, _PATIENCE)


def _connected(route: Route, patience: float, *, tls: bool) -> str | Failure:
    """Open a connection and close it again; return what was reached, or why not the last address of the route."""
    from dataclasses import replace  # noqa: PLC0415 - with the others

    from agent.net.connection import Connection  # noqa: PLC0415
    from agent.net.failures import Cause, Failure, failure  # noqa: PLC0415
    from agent.net.stream import HttpError  # noqa: PLC0415

    route = route if tls else replace(route, tls=None)
    problem = Failure(route.shown, Cause.NAME_UNKNOWN, "has no address")
    for address in route.resolve():
        connection = Connection(address, route)
        try:
            connection.open(patience)
            return _reached(connection, str(address)) if tls else str(address)
        except (OSError, HttpError) as error:
            before_proxy = route.proxy is not None and not connection.reached
            problem = failure(error, route.shown_at(address), before_proxy=before_proxy)
        finally:
            connection.drop()
    return problem


def _reached(connection: Connection, address: str) -> str:
    sock: Any = connection.sock  # an SSLSocket by now
    certificate = sock.getpeercert()
    ends = _end(certificate.get("notAfter")) if certificate else None
    return address if ends is None else f"{address}, certificate until {ends:%Y-%m-%d}"


def _end(text: str | None) -> datetime | None:
    if text is None:
        return None
    import ssl  # noqa: PLC0415 - as above

    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)


def _summary(found: list[str], missing: list[tuple[str, str]]) -> Finding:
    """One address is enough to work; that another does not answer should be known all the same."""
    if not missing:
        return ok("; ".join(found))
    reasons = "; ".join(reason for reason, _ in missing)
    if found:
        return warning(f"{reasons} (but {found[0]})", missing[0][1])
    return failed(reasons, missing[0][1])
