"""Everything a PKIMessage can be, for hypothesis: any header, any body, any name, time and text."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import strategies as st

from agent.cmp import algorithms, bodies, der, names
from agent.cmp.messages import BodyType, Header, InfoTypeAndValue

numbers: Final = st.integers(-(2**62), 2**62) | st.integers(-1, 3)
octets: Final = st.binary(max_size=40)
texts: Final = st.text(max_size=12)
moments: Final = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda when: when.replace(microsecond=0)
)


def _some(strategy: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


def _oid(first: int, second: int, rest: list[int]) -> str:
    return ".".join(map(str, (first, second % 40 if first < 2 else second, *rest)))


arcs: Final = st.integers(0, 200) | st.integers(0, 2**64)
oids: Final = st.builds(_oid, st.integers(0, 2), arcs, st.lists(arcs, max_size=6))

leaves: Final = st.one_of(
    st.just(b"\x05\x00"),
    st.sampled_from([b"\x01\x01\x00", b"\x01\x01\xff"]),
    numbers.map(lambda number: der.wrap(der.INTEGER, der.integer_contents(number))),
    octets.map(lambda content: der.wrap(0x04, content)),
    octets.map(lambda content: der.wrap(der.BIT_STRING, b"\x00", content)),
    texts.map(lambda text: der.wrap(der.UTF8_STRING, text.encode())),
    octets.map(lambda content: der.wrap(0x85, content)),
)
values: Final = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda tag, parts: der.wrap(tag, *parts),
        st.sampled_from([der.SEQUENCE, der.SET, 0xA0, 0xA1, 0xBA]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=6,
)
sequences: Final = st.lists(values, max_size=3).map(lambda parts: der.wrap(der.SEQUENCE, *parts))
identifiers: Final = st.builds(algorithms.build_algorithm, oids, st.none() | values)

_attributes: Final = st.one_of(
    st.builds(
        x509.NameAttribute,
        st.sampled_from([NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.ORGANIZATIONAL_UNIT_NAME]),
        st.text(min_size=1, max_size=12),
    ),
    st.builds(x509.NameAttribute, st.just(NameOID.COUNTRY_NAME), st.sampled_from(["SE", "DE"])),
)
_rdns: Final = st.lists(_attributes, min_size=1, max_size=2, unique_by=lambda one: one.oid)
x509_names: Final = st.lists(_rdns.map(x509.RelativeDistinguishedName), max_size=3).map(x509.Name)
dns: Final = x509_names.map(lambda name: name.public_bytes())
general_names: Final = st.one_of(
    dns.map(names.directory_name),
    st.builds(der.wrap, st.sampled_from([0x81, 0x82, 0x86, 0x87, 0x88]), octets),
    st.builds(der.wrap, st.sampled_from([0xA0, 0xA3, 0xA5]), values),
)

infos: Final = st.builds(InfoTypeAndValue, oids, st.none() | values)
headers: Final = st.builds(
    Header,
    pvno=numbers,
    sender=general_names,
    recipient=general_names,
    message_time=st.none() | moments,
    protection_alg=st.none() | identifiers,
    sender_kid=st.none() | octets,
    recip_kid=st.none() | octets,
    transaction_id=st.none() | octets,
    sender_nonce=st.none() | octets,
    recip_nonce=st.none() | octets,
    free_text=_some(texts),
    general_info=_some(infos),
)

statuses: Final = st.builds(
    bodies.StatusInfo,
    status=numbers,
    text=_some(texts),
    failures=st.frozensets(st.integers(0, 30) | st.integers(0, 255), max_size=4),
)
attributes: Final = st.builds(bodies.Attribute, oids, values)
templates: Final = st.builds(
    bodies.CertTemplate,
    version=st.none() | numbers,
    serial_number=st.none() | st.integers(-(2**160), 2**160),
    signing_alg=st.none() | identifiers,
    issuer=st.none() | dns,
    not_before=st.none() | moments,
    not_after=st.none() | moments,
    subject=st.none() | dns,
    public_key=st.none() | sequences,
    extensions=st.none() | sequences,
)
requests: Final = st.builds(bodies.CertRequest, cert_req_id=numbers, template=templates, controls=_some(attributes))
possessions: Final = st.one_of(
    st.just(bodies.RaVerified()),
    st.builds(bodies.PopSignature, algorithm=identifiers, signature=octets, input=st.none() | sequences),
    st.builds(bodies.PopSubsequent, st.sampled_from(bodies.PopKey), st.sampled_from(bodies.SubsequentMessage)),
)
request_messages: Final = st.builds(
    bodies.CertReqMsg, request=requests, possession=st.none() | possessions, reg_info=_some(attributes)
)
encrypted_keys: Final = sequences | st.lists(values, max_size=2).map(lambda parts: der.wrap(0xA0, *parts))
responses: Final = st.one_of(
    st.builds(bodies.CertResponse, cert_req_id=numbers, status=statuses, rsp_info=st.none() | octets),
    st.builds(
        bodies.CertResponse,
        cert_req_id=numbers,
        status=statuses,
        certificate=sequences,
        private_key=st.none() | encrypted_keys,
        rsp_info=st.none() | octets,
    ),
    st.builds(
        bodies.CertResponse,
        cert_req_id=numbers,
        status=statuses,
        encrypted_certificate=encrypted_keys,
        private_key=st.none() | encrypted_keys,
    ),
)
cert_ids: Final = st.builds(bodies.CertId, general_names, st.integers(-(2**160), 2**160))
_UNREAD: Final = [
    BodyType.KRR, BodyType.KRP, BodyType.CCR, BodyType.CCP, BodyType.CKUANN, BodyType.CANN, BodyType.RANN,
    BodyType.CRLANN, BodyType.NESTED,
]  # fmt: skip

answers: Final = st.builds(
    bodies.CertRepMessage,
    st.sampled_from([BodyType.IP, BodyType.CP, BodyType.KUP]),
    _some(responses, 2),
    _some(sequences),
)

all_bodies: Final[st.SearchStrategy[bodies.Body]] = st.one_of(
    st.builds(
        bodies.CertReqMessages, st.sampled_from([BodyType.IR, BodyType.CR, BodyType.KUR]), _some(request_messages, 2)
    ),
    answers,
    st.builds(bodies.Pkcs10, sequences),
    st.builds(
        bodies.PopDecChallenges,
        _some(
            st.builds(
                bodies.Challenge,
                owf=st.none() | identifiers,
                witness=octets,
                challenge=octets,
                encrypted_rand=st.none() | sequences,
            )
        ),
    ),
    st.builds(bodies.PopDecResponses, _some(st.integers(-(2**512), 2**512))),
    st.builds(
        bodies.RevReq,
        _some(st.builds(bodies.RevDetails, template=templates, crl_entry_details=st.none() | sequences), 2),
    ),
    st.builds(bodies.RevRep, _some(statuses), _some(cert_ids), _some(sequences)),
    st.just(bodies.PkiConf()),
    st.builds(bodies.General, st.sampled_from([BodyType.GENM, BodyType.GENP]), _some(infos)),
    st.builds(bodies.ErrorMessage, statuses, st.none() | numbers, _some(texts)),
    st.builds(
        bodies.CertConfirm,
        _some(
            st.builds(
                bodies.CertStatus,
                cert_hash=octets,
                cert_req_id=numbers,
                status=st.none() | statuses,
                hash_alg=st.none() | identifiers,
            )
        ),
    ),
    st.builds(bodies.PollRequest, _some(numbers)),
    st.builds(
        bodies.PollResponse,
        _some(st.builds(bodies.Poll, cert_req_id=numbers, check_after=numbers, reason=_some(texts))),
    ),
    st.builds(bodies.Unread, st.sampled_from(_UNREAD), values),
)
"""Every class of body, each with every type it may carry."""
