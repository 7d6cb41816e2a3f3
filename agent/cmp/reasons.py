"""Reasons for a revocation: CRLReason by the name people type (RFC 5280 5.3.1). Imports nothing: the CLI shows it."""

from __future__ import annotations

from typing import Final

REVOCATION_REASONS: Final = {
    "unspecified": 0,
    "key-compromise": 1,
    "ca-compromise": 2,
    "affiliation-changed": 3,
    "superseded": 4,
    "cessation-of-operation": 5,
    "certificate-hold": 6,
    "privilege-withdrawn": 9,
    "aa-compromise": 10,
}
