"""Everything of ours that reads octets from outside, as a table: what it may raise, and what inputs are made from.

A target reads one input and returns, whatever the input is. What it may raise is ours and says what to do; anything
else is a finding, and so is an input that costs more than :mod:`tests.fuzz.watch` allows.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, cast

from agent import config
from agent.cli import provisioning, watched_events
from agent.cmp import (
    algorithms,
    certificates,
    challenge,
    cms,
    decryption,
    der,
    memory,
    messages,
    names,
    redaction,
    request_template,
    revocation,
    root_update,
)
from agent.cmp import protection as guards
from agent.cmp.acceptance import examine
from agent.cmp.bodies import CertReqMessages, General, PopDecChallenges
from agent.cmp.errors import CmpError, LocalError, RemoteError
from agent.cmp.events import Answered
from agent.cmp.messages import BodyType
from agent.cmp.protection import Kind, MacProtector, ProtectionRules
from agent.cmp.reading import read
from agent.cmp.trust import build_path
from agent.config.reference.example import example
from agent.contract import Action, Job, Outcome, Progress, Verdict
from agent.errors import ConfigurationError, NotCmp, ServerBusy, StateCorrupt, StateNewer, Unreachable
from agent.labca import LabCa
from agent.net.http import CmpClient
from agent.settings import HttpSettings
from agent.store import deployment, documents, pem
from agent.store import state as store_state
from agent.store.credential import Generation
from agent.structure import StructureError, to_json
from agent.supervisor.hearing import Hearing
from agent.worker.__main__ import read_job
from hsm import keyformat, uri
from hsm.errors import KeyStoreError
from hsm.pinmemory import PinMemory
from tests.fuzz.mutation import Mutator, der_mutator
from tests.unit.cmp.decryptors import P256, RSA, X25519, key_of, pem_of
from tests.unit.cmp.device import NOW, PBM, SECRET, lab, question, rewritten
from tests.unit.cmp.stages import STAGES, awaiting
from tests.unit.net.peers import CMP, RESPONSE, Peer, RawServer, http_answer, once

VECTORS: Final = Path(__file__).parents[1] / "vectors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``read`` takes one input, and may raise ``errors``. ``mutate`` makes one input from another one."""

    name: str
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...]
    seeds: Callable[[], list[bytes]]
    mutate: Mutator | None = None


# ---- CMP -------------------------------------------------------------------------------------------------------------


@cache
def _recorded() -> list[bytes]:
    """Return messages of every body type, by OpenSSL and by us, and answers of the lab CA at every moment."""
    recorded = [file.read_bytes() for file in sorted((VECTORS / "openssl").glob("*-re*.der"))]
    recorded += [bytes.fromhex(one["message"]) for one in json.loads((VECTORS / "messages.json").read_text())]
    return recorded + [awaiting(name, Kind.MAC).answer for name in STAGES]


def _message(octets: bytes) -> None:
    message = messages.parse(octets)
    certificates.load_all(message.extra_certs)
    for name in (message.header.sender, message.header.recipient):
        if (directory_name := names.name_of(name)) is not None:
            names.text_of(directory_name)
    body = message.body()
    if isinstance(body, CertReqMessages):
        for one in body.requests:
            certificates.load_all((one.request.template.public_key or b"",))


_CHEAP: Final = ProtectionRules(legacy=True, maximum_iterations=2000, maximum_work=20_000)
"""What the bounds of the real rules allow takes seconds, on purpose; another test holds them."""


def _protection(octets: bytes) -> None:
    message = messages.parse(octets)
    guards.kind_of(message)
    try:
        guards.verify_mac(message, SECRET, _CHEAP)
    except RemoteError:
        for signer in certificates.load_all(message.extra_certs):
            public_key = certificates.read(signer).public_key
            if public_key is not None:
                guards.verify_signature(message, cast("Any", public_key), _CHEAP)


_STAGES: Final = tuple(name for name in STAGES if name not in {"kup", "rp"})  # these two are signed


@cache
def _protected_header(stage: str) -> bytes:
    """Return the header of the true answer at a stage, as it is when the lab's MAC is made with our parameters."""
    moment = awaiting(stage, Kind.MAC)
    answer = rewritten(moment.device.ca, protector=MacProtector(SECRET, PBM))(moment.answer)
    header = der.children(answer)[0]
    return answer[header.start : header.end]


def _answer(octets: bytes) -> None:
    """Give a transaction any body, well protected: the CA itself goes wrong. The first octet says at which moment."""
    stage = _STAGES[octets[0] % len(_STAGES)] if octets else _STAGES[0]
    covered = _protected_header(stage) + octets[1:]
    code = _guard().protect(der.wrap(der.SEQUENCE, covered))
    bits = der.wrap(0xA0, der.wrap(der.BIT_STRING, b"\x00", code))
    device = awaiting(stage, Kind.MAC).again()
    device.transaction.receive(der.wrap(der.SEQUENCE, covered, bits), device.now)


@cache
def _guard() -> MacProtector:
    return MacProtector(SECRET, PBM)


def _bodies() -> list[bytes]:
    found = []
    for number, stage in enumerate(_STAGES):
        answer = awaiting(stage, Kind.MAC).answer
        body = der.children(answer)[1]
        found.append(bytes((number,)) + answer[body.start : body.end])
    return found


def _after_first(octets: bytes, maximum: int, seed: int) -> bytes:
    return octets[:1] + der_mutator(octets[1:], maximum - 1, seed)


def _reading(octets: bytes) -> None:
    reading = read(octets, secret=b"secret")
    list(reading.lines())
    json.dumps(reading.to_json())
    assert not [one for one in reading.stops if "a parser fails on it" in one.value], "the net under it caught a defect"


# ---- certificates and what is encrypted -----------------------------------------------------------------------------


@cache
def _certificates() -> list[bytes]:
    device = awaiting("ip", Kind.MAC).device
    pki, issued = device.ca.pki, device.transaction.certificate
    found = [issued, pki.root.certificate, pki.issuing.certificate, pki.ra.certificate]
    return found + [(VECTORS / "openssl" / name).read_bytes() for name in ("certificate.der", "issuer.der")]


def _certificate(octets: bytes) -> None:
    moment = awaiting("ip", Kind.MAC).device
    assert moment.expected is not None
    examine(octets, replace(moment.expected, intermediates=(moment.ca.pki.issuing.loaded,)))
    loaded = certificates.load(octets)
    beside = (moment.ca.pki.issuing.loaded, loaded)
    for leaf in (moment.ca.pki.ra.loaded, loaded):
        build_path(leaf, intermediates=beside, anchors=(moment.ca.pki.root.loaded,), at=NOW, rules=certificates.MODERN)


def _root_update(octets: bytes) -> None:
    old = _renewing().pki.root.loaded
    root_update.accept(root_update.decode(octets), old, now=NOW, rules=certificates.MODERN)


def _crl(octets: bytes) -> None:
    ca = _revoking()
    path = [one.loaded for one in (ca.pki.ra, ca.pki.issuing, ca.pki.root)]
    revocation.standings(path, [revocation.load(octets)], at=NOW, rules=certificates.MODERN)


@cache
def _revoking() -> LabCa:
    """Return a CA that revoked its RA."""
    ca = lab()
    ca.revoke(ca.pki.ra.certificate, 1, NOW)
    return ca


def _crls() -> list[bytes]:
    return [_revoking().crl(NOW), _revoking().crl(NOW, of_root=True)]


def _template(octets: bytes) -> None:
    der.check(octets)  # as everything in a message was
    template = request_template.decode(octets)
    request_template.described(template)
    request_template.completed(template, None)
    ours = names.parse_name(names.name_from_text("CN=enb-4711,O=Operator"))
    request_template.objections(template, subject=ours, alternative_names=False, key="ec-p256")


@cache
def _templates() -> list[bytes]:
    event = question(_renewing(), messages.Info.CERT_REQ_TEMPLATE).exchange()
    assert isinstance(event, Answered)
    assert isinstance(event.body, General)
    return [one.value for one in event.body.infos if one.value]


@cache
def _renewing() -> LabCa:
    """Return a CA that has a new root to offer."""
    ca = lab()
    ca.prepare_root_update(NOW)
    return ca


@cache
def _root_updates() -> list[bytes]:
    event = question(_renewing(), messages.Info.ROOT_CA_CERT).exchange()
    assert isinstance(event, Answered)
    assert isinstance(event.body, General)
    return [one.value for one in event.body.infos if one.value]


def _redaction(octets: bytes) -> None:
    der.check(redaction.without_macs(octets))


def _name(octets: bytes) -> None:
    names.text_of(octets)
    names.parse_name(octets)
    names.same_name(octets, _NAMES[0])


_NAMES: Final = [
    names.name_from_text(text)
    for text in ("CN=enb-4711.ran.operator.example,O=Operator", "DC=example,OU=\\C3\\A4+CN=b")
]
_KEYS: Final = (RSA, P256, X25519)


def _encrypted(octets: bytes) -> None:
    """Open what may be encrypted for us, in both forms; the first octet chooses the key."""
    key = key_of(_KEYS[octets[0] % len(_KEYS)] if octets else RSA)
    try:
        decryption.open_enveloped(octets[1:], key, legacy=True)
    except RemoteError:
        decryption.open_encrypted_key(octets[1:], key, legacy=True)


@cache
def _encrypteds() -> list[bytes]:
    from tests.unit.cmp.test_decryption import enveloped  # noqa: PLC0415 - beside its only use

    return [bytes((number,)) + cms.encode(enveloped(one)) for number, one in enumerate(_KEYS)]


def _challenge(octets: bytes) -> None:
    """Read popdecc and solve it."""
    body = messages.parse(_framed(BodyType.POPDECC, octets)).body()
    assert isinstance(body, PopDecChallenges)
    challenge.solve(body, key_of(RSA), messages.NULL_DN, legacy=True)


def _framed(kind: BodyType, contents: bytes) -> bytes:
    header = der.wrap(der.SEQUENCE, b"\x02\x01\x02", messages.NULL_DN, messages.NULL_DN)
    return der.wrap(der.SEQUENCE, header, der.wrap(0xA0 | kind, contents))


def _challenges() -> list[bytes]:
    owf = algorithms.build_algorithm(algorithms.HASHES["sha256"].oid)
    plain = der.wrap(der.SEQUENCE, owf, b"\x04\x20" + bytes(32), b"\x04\x82\x01\x00" + bytes(256))
    sealed = der.wrap(
        der.SEQUENCE, owf, b"\x04\x20" + bytes(32), b"\x04\x00", der.wrap(0xA0, der.unwrap(_encrypteds()[0][1:]))
    )
    return [der.wrap(der.SEQUENCE, plain), der.wrap(der.SEQUENCE, sealed)]


# ---- HTTP ------------------------------------------------------------------------------------------------------------


def _http(octets: bytes) -> None:
    _said[:] = [octets]
    quick = HttpSettings(connect_timeout=5, response_timeout=5)
    with CmpClient([_server().url], quick) as client:
        client.exchange(b"0\x00")


_said: list[bytes] = []


@cache
def _server() -> RawServer:
    def behave(peer: Peer) -> None:
        once(_said[0])(peer)

    return RawServer(behave).__enter__()  # it lives as long as this process


def _http_answers() -> list[bytes]:
    return [
        http_answer(),
        http_answer(RESPONSE, status="503 Busy", Retry_After="3"),
        f"HTTP/1.1 200 OK\r\nContent-Type: {CMP}\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n".encode()
        + RESPONSE
        + b"\r\n0\r\n\r\n",
        b"HTTP/1.0 404 No\r\nContent-Type: text/html\r\n\r\n<html><title>Not here</title>",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n",
        b"HTTP/1.1 100 Go\r\n\r\n",
    ]


# ---- files and documents ---------------------------------------------------------------------------------------------


@cache
def _folder() -> Path:
    folder = TemporaryDirectory(prefix="enrolld-fuzz-")
    _kept.append(folder)
    return Path(folder.name)


_kept: list[TemporaryDirectory[str]] = []


def tidy_up() -> None:
    """Take the folder away in which targets have kept files: not every process ends as Python would like it to."""
    _folder.cache_clear()
    while _kept:
        _kept.pop().cleanup()


def _configuration(octets: bytes) -> None:
    file = _folder() / "enrolld.yaml"
    file.write_bytes(octets)
    settings = config.load(file)
    config.warnings(settings)
    config.unsupported(settings)


def _configurations() -> list[bytes]:
    folder = Path(__file__).parents[2] / "config"
    return [example().encode(), *(one.read_bytes() for one in sorted((folder / "examples").glob("*.yaml")))]


def _job(octets: bytes) -> None:
    read_job(octets)


def _jobs() -> list[bytes]:
    settings = config.load(Path(__file__).parents[2] / "config" / "examples" / "enodeb.yaml")
    name, identity = next(iter(settings.identities.items()))
    job = Job(
        action=Action.ENROLL,
        name=name,
        identity=identity,
        authority=settings.authorities[identity.authority],
        state_directory=settings.state_directory,
    )
    return [json.dumps(to_json(job)).encode()]


def _line(octets: bytes) -> None:
    """Hear a line of a worker, as the supervisor does: rubbish is left aside, never an error."""
    with contextlib.redirect_stderr(io.StringIO()):  # where it puts what it leaves aside
        Hearing(lambda _: None).take_line(octets)


def _lines() -> list[bytes]:
    outcome = Outcome(verdict=Verdict.WAITING, text="later", retry_after=3.5, fields={"A": "b"})
    progress = Progress(event="sent", text="sending ir", fields={"CMP_TRANSACTION_ID": "00"})
    documents_ = ({"outcome": to_json(outcome)}, {"progress": to_json(progress)})
    return [json.dumps(one).encode() for one in documents_]


def _snapshot(octets: bytes) -> None:
    """Read a snapshot whose digest is right, whatever stands in it, and go on with it."""
    document = documents.decode(octets, _folder() / "snapshot.json", remedy="Do it again.")
    memory.recall(cast("dict[str, Any]", document))


def _snapshots() -> list[bytes]:
    return [awaiting(name, Kind.MAC).snapshot.encode() for name in ("ip", "pollRep", "pkiconf")]


def _record(octets: bytes) -> None:
    store_state._state_from(octets, _folder() / "state.json")


def _records() -> list[bytes]:
    error = store_state.LastError(text="no", remedy="Wait.", verdict="failed", at=NOW)
    full = store_state.IdentityState(attempts=3, last_error=error, last_success=NOW, next_action="renew", since=NOW)
    return [documents.encode(store_state._document_of(full))]


def _credential(octets: bytes) -> None:
    folder = _folder() / "generations" / "000001"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "credential.json").write_bytes(octets)
    generation = Generation(1, folder)
    for look in ("confirmed", "description", "private_key", "key_reference", "certificate", "chain"):
        getattr(generation, look)
    generation.check()


def _credentials() -> list[bytes]:
    digests: documents.JSON = dict.fromkeys(("certificate.pem", "chain.pem", "private-key.pem"), "0" * 64)
    return [documents.encode({"sha256": digests, "description": {"subject": "CN=a"}, "marks": {"confirmed": True}})]


def _deployment(octets: bytes) -> None:
    deployment._record(octets, _folder() / "deployment.json")


def _deployments() -> list[bytes]:
    record = deployment.DeploymentRecord(held_until=NOW.isoformat())
    return [documents.encode({"deployment": to_json(record)})]


def _journal(octets: bytes) -> None:
    watched_events.of_entry(octets, ["ike"])


def _entries() -> list[bytes]:
    entry = {"__REALTIME_TIMESTAMP": "1772366400000000", "IDENTITY": "ike", "MESSAGE": "ike: sending ir"}
    return [json.dumps(entry).encode()]


def _provisioning(octets: bytes) -> None:
    """Read what is on a stick that somebody found."""
    provisioning.read_file(octets)


_SITE: Final = provisioning.Provisioning(
    urls=("http://ra1.operator.example/.well-known/cmp",), reference="enb-4711", subject="CN=a", trust_anchors=(b"0",)
)


def _qr(octets: bytes) -> None:
    provisioning.read_qr(octets.decode("utf-8", "surrogateescape"))


def _token_uri(octets: bytes) -> None:
    found = uri.parse(octets.decode("utf-8", "surrogateescape"))
    assert uri.parse(str(found)) == found


def _pin_memory(octets: bytes) -> None:
    file = _folder() / "pin"
    file.write_bytes(octets)
    PinMemory(file).was_refused(b"1234", "4711")


def _pem(octets: bytes) -> None:
    certificates.load_all(pem.decode(octets))


def _private_key(octets: bytes) -> None:
    keyformat.decode(octets, _folder() / "key.pem")


TARGETS: Final = {
    target.name: target
    for target in (
        Target(name="der", read=der.check, errors=(RemoteError,), seeds=_recorded, mutate=der_mutator),
        Target(name="message", read=_message, errors=(RemoteError,), seeds=_recorded, mutate=der_mutator),
        Target(name="protection", read=_protection, errors=(RemoteError,), seeds=_recorded, mutate=der_mutator),
        Target(name="answer", read=_answer, errors=(RemoteError,), seeds=_bodies, mutate=_after_first),
        Target(name="reading", read=_reading, errors=(), seeds=_recorded, mutate=der_mutator),
        Target(name="certificate", read=_certificate, errors=(RemoteError,), seeds=_certificates, mutate=der_mutator),
        Target(name="redaction", read=_redaction, errors=(RemoteError,), seeds=_recorded, mutate=der_mutator),
        Target(name="root-update", read=_root_update, errors=(RemoteError,), seeds=_root_updates, mutate=der_mutator),
        Target(name="crl", read=_crl, errors=(RemoteError,), seeds=_crls, mutate=der_mutator),
        Target(name="template", read=_template, errors=(RemoteError,), seeds=_templates, mutate=der_mutator),
        Target(name="name", read=_name, errors=(RemoteError,), seeds=lambda: _NAMES, mutate=der_mutator),
        Target(name="encrypted", read=_encrypted, errors=(RemoteError,), seeds=_encrypteds, mutate=_after_first),
        Target(name="challenge", read=_challenge, errors=(RemoteError,), seeds=_challenges, mutate=der_mutator),
        Target(name="http", read=_http, errors=(Unreachable, ServerBusy, NotCmp), seeds=_http_answers),
        Target(name="configuration", read=_configuration, errors=(ConfigurationError,), seeds=_configurations),
        Target(name="job", read=_job, errors=(StructureError,), seeds=_jobs),
        Target(name="line", read=_line, errors=(), seeds=_lines),
        Target(name="snapshot", read=_snapshot, errors=(StateCorrupt, StateNewer, LocalError), seeds=_snapshots),
        Target(name="record", read=_record, errors=(StateCorrupt, StateNewer), seeds=_records),
        Target(name="credential", read=_credential, errors=(StateCorrupt, StateNewer), seeds=_credentials),
        Target(name="deployment", read=_deployment, errors=(StateCorrupt, StateNewer), seeds=_deployments),
        Target(name="journal", read=_journal, errors=(), seeds=_entries),
        Target(
            name="provisioning",
            read=_provisioning,
            errors=(ConfigurationError,),
            seeds=lambda: [provisioning.write_file(_SITE, SECRET, bytes)],
        ),
        Target(
            name="qr",
            read=_qr,
            errors=(ConfigurationError,),
            seeds=lambda: [provisioning.write_qr(_SITE, "a secret").encode()],
        ),
        Target(
            name="token-uri",
            read=_token_uri,
            errors=(KeyStoreError,),
            seeds=lambda: [b"pkcs11:token=enb;object=ike;id=%01%02;type=private?module-name=x"],
        ),
        Target(
            name="pin-memory",
            read=_pin_memory,
            errors=(),
            seeds=lambda: [b'{"salt": "00112233445566778899aabbccddeeff", "mark": 12345}'],
        ),
        Target(name="pem", read=_pem, errors=(ValueError, CmpError), seeds=lambda: [pem.encode(_certificates())]),
        Target(
            name="private-key",
            read=_private_key,
            errors=(KeyStoreError,),
            seeds=lambda: [pem_of(one) for one in _KEYS],
        ),
    )
}
