"""What can be set on the lab CA: one frozen dataclass, all of it with defaults that just work on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from agent.cmp.messages import BodyType
from agent.frozen import frozen
from agent.labca.keys import KeyKind

if TYPE_CHECKING:
    from agent.cmp.protection import MacParameters

CERTIFICATE_REQUESTS = frozenset({BodyType.IR, BodyType.CR, BodyType.P10CR, BodyType.KUR})


CRL_PATH = "/crl"
"""Where the CRL of the issuing CA is served."""
ROOT_CRL = "/root"
"""What follows that path for the root's."""


def address(host: str, port: int) -> str:
    """Return the URL of a server without a path."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Nonce(StrEnum):
    """Whose senderNonce the answer after polling repeats.

    RFC 9483 4.4 says the request's; OpenSSL 3.0 (client and mock server) knows only the last message's.
    """

    REQUEST = "request"
    LAST = "last"


class WaitingForm(StrEnum):
    """How "not yet" is said to a certificate request: in ip/cp/kup, or as an error message (RFC 9810 5.3.22)."""

    RESPONSE = "response"
    ERROR = "error"


@frozen(kw_only=True)
class LabCaSettings:
    """Settings of the lab CA. All durations are ``timedelta``; sizes are octets."""

    # --- where -------------------------------------------------------------------------------------------------------
    directory: Path | None = None
    """Where keys, certificates and the database are kept. None: in memory, gone at the end."""
    bind: str = "127.0.0.1"
    port: int = 0
    """0: any free one."""
    path: str = "/.well-known/cmp"
    """The path in the URL that is printed. The well-known one, ``/``, ``/pkix/`` and ``/p/<name>`` always work."""
    allow_remote: bool = False
    """Without this flag the CA refuses to listen anywhere but on loopback: its secrets and keys protect nothing."""
    keep_alive: bool = True
    maximum_request: int = 1_048_576
    request_timeout: timedelta = timedelta(seconds=30)
    """A request must be complete, and a kept-alive connection used again, within this time."""
    durable: bool = True
    """Flush every issued certificate to the disk before it is handed out. Off only where a disk is being measured."""

    # --- authorities -------------------------------------------------------------------------------------------------
    key: KeyKind = KeyKind.EC_P256
    """Keys of root, issuing CA and RA, when they are made."""
    signature: str | None = None
    """What these keys sign with, as :data:`agent.cmp.algorithms.SIGNATURES` names it. None: the best they can."""
    intermediate: bool = True
    """An issuing CA below the root; otherwise the root issues. Counts when they are made."""
    ra_protects: bool = True
    """Answers are protected by the RA's certificate (cmcRA); otherwise by the issuing CA's own."""
    vendor_roots: tuple[Path, ...] = ()
    """More PEM files with roots of device vendors; the lab's own vendor root is always trusted."""

    # --- who may ask -------------------------------------------------------------------------------------------------
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Reference -> secret, for any number of uses. ``LabCa.add_secret`` knows one-time secrets too."""
    strict_sender: bool = False
    """With a MAC, sender must be a directoryName with one CN that equals senderKID (RFC 9483 3.1). OpenSSL does not."""
    clock_tolerance: timedelta | None = None
    """Refuse a messageTime that differs by more (badTime). None: not looked at."""
    refuse_known_keys: bool = False
    """Refuse a key that was certified before (duplicateCertReq), as CAs with unique keys do."""
    minimum_rsa_bits: int = 2048
    legacy_algorithms: bool = False
    """Accept SHA-1 and MD5, for clients of the contribution's days. HMAC-SHA1 as a MAC is always accepted."""

    # --- what is issued ----------------------------------------------------------------------------------------------
    validity: timedelta = timedelta(days=90)
    """Down to a second. Also the most a template may ask for."""
    backdate: timedelta = timedelta()
    """How long before now a certificate becomes valid; it ends ``validity`` after now."""
    crl_distribution_point: bool = False
    """Write the URL of the CRL into certificates; needs a running server. With a fixed port, those of RA and issuing
    CA name theirs too, if they are made then."""
    crl_life: timedelta = timedelta(days=7)

    # --- how it is answered ------------------------------------------------------------------------------------------
    implicit_confirm: bool = False
    """Grant implicitConfirm to whoever asks. Nobody gets it unasked."""
    confirm_wait: timedelta | None = None
    """Send confirmWaitTime; a certificate not confirmed by then is refused."""
    polls: int = 0
    """How many pollReq are answered with "not yet"."""
    poll_delay: timedelta = timedelta()
    """How long a request is under consideration; together with ``polls`` both must be over."""
    check_after: int = 1
    """Seconds in pollRep."""
    manual_approval: bool = False
    """A certificate request waits until ``LabCa.approve`` or ``LabCa.decline``."""
    delayed: frozenset[BodyType] = CERTIFICATE_REQUESTS
    """Which requests the three settings above apply to; rr, genm and certConf can be delayed too."""
    waiting_form: WaitingForm = WaitingForm.RESPONSE
    nonce_after_polling: Nonce = Nonce.REQUEST
    mac: MacParameters | None = None
    """MAC parameters of answers (``algorithm`` follows the request). None: those of the request, salt included."""
    sign_mac_answers: bool = False
    """Sign answers even to MAC-protected requests, as XiPKI and EJBCA's RA mode do."""
    ca_pubs: bool = True
    """Hand the root to MAC-protected ir in caPubs."""
    root_in_extra_certs: bool = False
    """Send the root along in extraCerts, as TS 33.310 9.5.4.3 has it for devices that do not know it yet."""
    assigned_subject: str | None = None
    """The name given to a request without one, as RAs of TS 33.310 do; ``{device}`` is the CN in the certificate that
    signed. None: such a request needs subjectAltName and gets no subject."""
    sends_nonce: bool = True
    """False: answers carry no senderNonce (XiPKI)."""
    names_signer: bool = True
    """False: sender repeats whom the request addressed, and senderKID is left out (XiPKI)."""
    repeat_extra_certs: bool = True
    """False: the signer's chain comes with the first answer of a transaction only (Siemens RA, Nokia NCM)."""
    p10cr_cert_req_id: int = -1
    """certReqId in the answer to p10cr: -1 by RFC 9483 4.1.4, 0 at EJBCA and others."""
    certificate_profiles: tuple[str, ...] = ()
    """Known names for certProfile. Empty: any name is taken; otherwise an unknown one is refused."""
