"""enrolld: the certificate-enrollment agent for base stations, security gateways and network functions."""

from datetime import UTC, datetime

from agent import deferred

deferred.defer_what_nobody_uses()

__version__ = "0.1.0"

RELEASED = datetime(2026, 11, 23, tzinfo=UTC)
"""When this version was made: no clock that shows an earlier time can be right."""
