"""Who is to use the certificate: whether each consumer can be reached, and what it confirmed last."""

from __future__ import annotations

from agent.cli.checks.registry import Finding, Scope, Site, check, failed, ok, skipped, warning
from agent.config.consumers import check_consumers
from agent.overview import look


@check("consumers", Scope.IDENTITY)
def consumers(site: Site, name: str) -> Finding:
    """Every consumer can be reached, and uses the certificate."""
    settings = site.given()
    identity = site.identities[name]
    if not identity.deploy:
        return skipped("no consumer is configured")
    seen = look(settings.state_directory, name, identity, now=site.now)
    lacking = [one for one in seen.consumers if one.error]
    if lacking:
        return failed(
            f"{lacking[0].target}: {lacking[0].error}", lacking[0].remedy or f"Run 'enrollctl deploy {name}'."
        )
    unreachable = [one for one in check_consumers(settings) if one.path[1] == name]
    if unreachable:
        first = unreachable[0]
        return warning(f"{first.key}: {first.text}", f"{first.remedy[0].upper()}{first.remedy[1:]}.")
    if not seen.consumers:
        return ok("can be reached")
    return ok(", ".join(f"{one.target} since {one.since}" for one in seen.consumers))
