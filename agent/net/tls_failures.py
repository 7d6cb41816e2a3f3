"""What an error of TLS means. Loaded only where there was one: ``ssl`` takes as long to load as all our HTTP."""

from __future__ import annotations

import ssl
from typing import Final

from agent.net.failures import Cause

_VERIFY_CODE: Final = {  # openssl/x509_vfy.h
    9: Cause.TLS_NOT_YET_VALID,
    10: Cause.TLS_EXPIRED,
    2: Cause.TLS_ISSUER,
    18: Cause.TLS_ISSUER,
    19: Cause.TLS_ISSUER,
    20: Cause.TLS_ISSUER,
    21: Cause.TLS_ISSUER,
    62: Cause.TLS_HOST_NAME,
    64: Cause.TLS_HOST_NAME,
}

_TLS_REASON: Final = {  # openssl/sslerr.h, as spelled by OpenSSL 1.1.1 to 3
    "WRONG_VERSION_NUMBER": Cause.TLS_NONE,
    "RECORD_LAYER_FAILURE": Cause.TLS_NONE,
    "HTTP_REQUEST": Cause.TLS_NONE,
    "PACKET_LENGTH_TOO_LONG": Cause.TLS_NONE,
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": Cause.TLS_CLIENT,
    "SSLV3_ALERT_BAD_CERTIFICATE": Cause.TLS_CLIENT,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": Cause.TLS_CLIENT,
    "SSLV3_ALERT_CERTIFICATE_REVOKED": Cause.TLS_CLIENT,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": Cause.TLS_CLIENT,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": Cause.TLS_CLIENT,
    "SSL/TLS_ALERT_BAD_CERTIFICATE": Cause.TLS_CLIENT,
    "TLSV1_ALERT_UNKNOWN_CA": Cause.TLS_CLIENT,
    "TLSV1_ALERT_ACCESS_DENIED": Cause.TLS_CLIENT,
}


def cause(error: Exception) -> Cause:
    """Return why TLS failed; ``error`` is an ``ssl.SSLError``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODE.get(error.verify_code, Cause.TLS_OTHER)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return Cause.HUNG_UP
    return _TLS_REASON.get(getattr(error, "reason", None) or "", Cause.TLS_OTHER)


def detail(error: Exception) -> str:
    """Return what the error itself says, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message.rstrip(".")
    return (getattr(error, "reason", None) or "").lower().replace("_", " ")
