"""TLS below HTTP (RFC 9483 section 6.1): a second line of defence, never the only one."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from agent.errors import ConfigurationError
from agent.net.text import printable

if TYPE_CHECKING:
    from agent.settings import HttpSettings


def tls_context(settings: HttpSettings) -> ssl.SSLContext:
    """Return a client context that trusts the configured anchors and nothing else.

    No root of the system and no variable of the environment takes part. A configured certificate is an anchor whether
    it is self-signed or not: an operator may name an intermediate CA, or the one server. TLS 1.2 or newer; the host
    name is checked against subjectAltName only (RFC 9525). Raises ConfigurationError naming the file that is wrong.
    """
    if not settings.tls_trust_anchors:
        raise ConfigurationError(
            "an https address is configured, but no tls-trust-anchors say whom to trust there",
            remedy="Name the PEM file of the CA that issued the server's TLS certificate in http: tls-trust-anchors.",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    for anchor in settings.tls_trust_anchors:
        try:
            context.load_verify_locations(cafile=anchor)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError(
                f"cannot use the TLS trust anchor {printable(str(anchor))}: {_reason(error)}",
                remedy="Make it a readable PEM file with certificates.",
            ) from error
    _load_client_certificate(context, settings)
    return context


def _load_client_certificate(context: ssl.SSLContext, settings: HttpSettings) -> None:
    if settings.tls_certificate is None:
        if settings.tls_key is not None:
            raise ConfigurationError(
                "tls-key is configured without tls-certificate",
                remedy="Name the client certificate that belongs to the key, or remove tls-key.",
            )
        return
    try:
        # An answer for every passphrase, because OpenSSL would otherwise ask whoever sits at the terminal.
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=_no_passphrase)
    except (OSError, _EncryptedKeyError) as error:
        raise ConfigurationError(
            f"cannot use the TLS client certificate {printable(str(settings.tls_certificate))}"
            f" with the key {printable(str(settings.tls_key or settings.tls_certificate))}: {_reason(error)}",
            remedy="Give a readable PEM certificate chain and its own key, the key without a passphrase.",
        ) from error


class _EncryptedKeyError(Exception):
    """The key file asks for a passphrase."""


def _no_passphrase() -> str:
    raise _EncryptedKeyError


def _reason(error: Exception) -> str:
    """Say in a few words why a file was refused; ``ssl`` wraps plain causes in its own jargon."""
    if isinstance(error, _EncryptedKeyError):
        return "the key is encrypted"
    if isinstance(error, ssl.SSLError):
        return (error.reason or "no certificate or key found in it").lower().replace("_", " ")
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).lower()
