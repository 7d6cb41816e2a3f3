from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest

from agent.net.failures import CAUSES, Cause, classify, failure, unreachable
from agent.net.parsing import HungUpError
from agent.net.stream import NotHttpError


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (os_error(errno.ECONNREFUSED), Cause.REFUSED),
        (os_error(errno.ECONNRESET), Cause.RESET),
        (os_error(errno.EPIPE), Cause.RESET),
        (os_error(errno.ETIMEDOUT), Cause.TIMEOUT),
        (TimeoutError(), Cause.TIMEOUT),
        (os_error(errno.EHOSTUNREACH), Cause.NO_ROUTE),
        (os_error(errno.ENETUNREACH), Cause.NO_ROUTE),
        (os_error(errno.EAFNOSUPPORT), Cause.NO_ROUTE),
        (os_error(errno.EADDRNOTAVAIL), Cause.SOURCE_ADDRESS),
        (os_error(errno.EPERM), Cause.NOT_PERMITTED),
        (os_error(errno.EMFILE), Cause.OTHER),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), Cause.NAME_UNKNOWN),
        (socket.gaierror(socket.EAI_ADDRFAMILY, "Address family for hostname not supported"), Cause.OTHER_FAMILY),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), Cause.NO_DNS),
        (tls_error("WRONG_VERSION_NUMBER"), Cause.TLS_NONE),
        (tls_error("TLSV1_ALERT_UNKNOWN_CA"), Cause.TLS_CLIENT),
        (tls_error("NO_PROTOCOLS_AVAILABLE"), Cause.TLS_OTHER),
        (HungUpError(), Cause.HUNG_UP),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), Cause.HUNG_UP),
        (NotHttpError("x"), Cause.PROXY_REFUSED),
        (RuntimeError("x"), Cause.OTHER),
    ],
    ids=lambda value: getattr(value, "value", None) or repr(value),
)
def test_errors_are_classified(error: Exception, cause: Cause) -> None:
    assert classify(error)[0] is cause


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words_and_one_sentence_of_remedy(cause: Cause) -> None:
    assert CAUSES[cause].words
    assert CAUSES[cause].remedy[0].isupper()
    assert CAUSES[cause].remedy.endswith(".")


def test_what_a_peer_says_is_escaped() -> None:
    assert classify(OSError(errno.EMFILE, "\x1b[31m\n"))[1] == r"failed (\x1b[31m\n)"


def test_the_remedy_is_that_of_the_most_telling_cause() -> None:
    failures = [
        failure(socket.gaierror(socket.EAI_NONAME, "x"), "a"),
        failure(os_error(errno.ENETUNREACH), "b"),
        failure(tls_error("TLSV1_ALERT_UNKNOWN_CA"), "c"),
        failure(os_error(errno.ECONNREFUSED), "d"),
    ]
    error = unreachable(failures)
    assert error.remedy == CAUSES[Cause.TLS_CLIENT].remedy
    assert not error.delivered
    assert str(error).endswith(
        "a: the name is unknown; b: there is no route to it; "
        "c: it does not accept our TLS client certificate; d: refused the connection"
    )


@pytest.mark.parametrize("number", [errno.ECONNREFUSED, errno.ENETUNREACH, errno.ETIMEDOUT])
def test_before_the_proxy_is_reached_the_proxy_is_to_blame(number: int) -> None:
    assert failure(os_error(number), "x", before_proxy=True).cause is Cause.PROXY_UNREACHABLE


def test_a_wrong_source_address_is_no_fault_of_the_proxy() -> None:
    assert failure(os_error(errno.EADDRNOTAVAIL), "x", before_proxy=True).cause is Cause.SOURCE_ADDRESS
