from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from agent import config
from agent.config import rules
from agent.config.reading import UNREAD, UnreadValue
from agent.errors import ConfigurationError
from agent.settings import Settings

SOURCE = Path("/etc/enrolld/enrolld.yaml")


def document(
    authority: str = "",
    identity: str = "",
    top: str = "",
    bootstrap: str = "shared-secret: {reference: a, secret: prompt}",
) -> str:
    anchors = "" if "trust-anchors" in authority.replace("tls-trust-anchors", "") else "trust-anchors: [root.pem]\n"
    urls = "" if "urls" in authority else "urls: [http://ra.example]\n"
    return (
        f"authorities:\n  operator:\n{textwrap.indent(urls + anchors + authority, '    ')}\n"
        f"identities:\n  ike:\n    authority: operator\n    subject: CN=enb\n    bootstrap: {{{bootstrap}}}\n"
        f"{textwrap.indent(identity, '    ')}\n{top}\n"
    )


def parse(text: str) -> Settings:
    return config.parse(text, source=SOURCE)


def refused(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    return [line.split(": ", 1)[1] for line in caught.value.mistakes]


VENDOR = "vendor-certificate: {certificate: vendor.pem, key: vendor.key}"
SIGNER = "  sign: {authority: operator, subject: CN=sign, bootstrap: {shared-secret: {reference: b, secret: prompt}}}"
TOKEN = "tokens: {hsm: {module: /lib/x.so, label: enb, pin: prompt}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            document(top="state-directory: /run/enrolld"),
            "runtime-directory: must not be the state directory: it is emptied at boot",
        ),
        (
            document("profile: 3gpp\nimplicit-confirmation: true"),
            "authorities.operator.implicit-confirmation: is for profile lightweight only",
        ),
        (
            document("profile: 3gpp\nmac: {one-way-function: sha1}"),
            "authorities.operator.mac.one-way-function: may be sha1 in profile backhaul only",
        ),
        (
            document("urls: [http://a.example, https://b.example]"),
            "authorities.operator.http.tls-trust-anchors: is needed for an https URL",
        ),
        (document("http: {tls-key: a.key}"), "authorities.operator.http.tls-key: needs tls-certificate"),
        (
            document("polling: {minimum: 1h, maximum: 10m}"),
            "authorities.operator.polling.maximum: must not be less than minimum",
        ),
        (
            document("polling: {minimum: 1h, give-up-after: 10m}"),
            "authorities.operator.polling.give-up-after: must not be less than minimum: nobody would ever ask",
        ),
        (
            document("urls: [http://a.example, http://a.example]"),
            "authorities.operator.urls: must not name an address twice",
        ),
        (
            document("trust-anchors: enrollment\nenrollment-anchors: {source: extra-certs}"),
            "identities.ike.bootstrap: must be a vendor's certificate, with an ir, when the authority learns its root",
        ),
        (
            document(
                "trust-anchors: enrollment\nenrollment-anchors: {source: extra-certs}", "request: cr", bootstrap=VENDOR
            ),
            "identities.ike.bootstrap: must be a vendor's certificate, with an ir, when the authority learns its root",
        ),
        (
            document("profile: 3gpp-strict"),
            "identities.ike.bootstrap.shared-secret: must not be used with an authority of profile 3gpp-strict",
        ),
        (
            document("profile: 3gpp-strict", "key: {algorithm: ed25519}", bootstrap=VENDOR),
            "identities.ike.key.algorithm: must be RSA or EC with an authority of profile 3gpp-strict",
        ),
        (
            document(
                "profile: 3gpp-strict",
                "key: {algorithm: rsa-3072, usage: encipherment}\nrenewal: {method: enroll}",
                bootstrap=VENDOR,
            ),
            "identities.ike.key.usage: must be signature with an authority of profile 3gpp-strict",
        ),
        (
            document(identity="key: {algorithm: rsa-3072, usage: encipherment}"),
            "identities.ike.renewal.method: must not be kur for a key that does not sign",
        ),
        (
            document("profile: 3gpp", "renewal: {method: cr, signer: sign}", bootstrap=VENDOR, top=SIGNER),
            "identities.ike.renewal.method: must not be cr with an authority of profile 3gpp",
        ),
        (
            document(identity="renewal: {method: cr}"),
            "must be another identity of the same authority, with a key that signs (add one, or choose method enroll)",
        ),
        (
            document(identity="renewal: {method: cr, signer: sing}", top=SIGNER),
            "must be another identity of the same authority, with a key that signs (did you mean sign?)",
        ),
        (
            document(identity="key: {algorithm: ec-p256, certified-for: [encipherment]}"),
            "identities.ike.key.certified-for: must be what such a key can do",
        ),
        (document(f"pins: [{'ab' * 32}, {'AB' * 32}]"), "authorities.operator.pins: must not name a key twice"),
        (
            document("quirks: [ignore-key-usage, ignore-key-usage]"),
            "authorities.operator.quirks: must not name a quirk twice",
        ),
        (document().replace("authority: operator", "authority: opretor"), "(did you mean operator?)"),
        (document().replace("authority: operator", "authority: zzz"), "(choose operator)"),
        (document(identity="key: {store: hms}", top=TOKEN), "(did you mean hsm?)"),
        (document(identity="key: {store: hsm}"), "identities.ike.key.store: must be `software` or the name of a token"),
        (
            document("trust-anchors: enrollment", bootstrap=VENDOR),
            "identities.ike.bootstrap: must be a shared secret when the authority has `trust-anchors: enrollment`",
        ),
        (
            document(identity='alternative-names: ["dns:a.example", "DNS:a.example"]'),
            "identities.ike.alternative-names: must not name anything twice",
        ),
        (
            document(identity="deploy:\n  - strongswan: {}\n  - hook: {command: [reload]}"),
            "identities.ike.deploy[1].hook.command: must begin with the absolute path of a program",
        ),
        (document(top=TOKEN.replace("hsm", "software")), "tokens.software: must not be called software"),
        (
            document(top=TOKEN.replace("label: enb", f"label: {'x' * 33}")),
            "tokens.hsm.label: must not be longer than 32",
        ),
    ],
)
def test_what_cannot_work_together_is_refused(text: str, said: str) -> None:
    (line,) = refused(text)
    assert said in line


@pytest.mark.parametrize(
    "text",
    [
        document("implicit-confirmation: true"),
        document(
            "urls: [https://b.example]\nhttp: {tls-trust-anchors: [tls.pem], tls-certificate: a.pem, tls-key: a.key}"
        ),
        document("http: {tls-certificate: both.pem}"),
        document("trust-anchors: enrollment"),
        document("profile: 3gpp", bootstrap=VENDOR),
        document("profile: 3gpp-strict", bootstrap=VENDOR),
        document(
            "trust-anchors: enrollment\n"
            f"enrollment-anchors: {{source: extra-certs, root-pins: [{'ab' * 32}]}}\npins: [{'cd' * 32}]",
            bootstrap=VENDOR,
        ),
        document(identity="key: {store: hsm}", top=TOKEN),
    ],
)
def test_what_can_work_together_loads(text: str) -> None:
    assert config.warnings(parse(text)) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (document(top="state-directory: /run/state"), "state-directory: is in a place that is emptied at boot"),
        (document(top="state-directory: /dev/shm"), "state-directory: is in a place that is emptied at boot"),
        (document("mac: {mac: hmac-sha1-ietf}"), "authorities.operator.mac.mac: uses SHA-1, which only old servers"),
        (document("mac: {iterations: 999}"), "authorities.operator.mac.iterations: is so low"),
        (document("quirks: [missing-sender-nonce]"), "authorities.operator.quirks: weakens the checks"),
        (document("profile: 3gpp"), "identities.ike.bootstrap.shared-secret: is not what profile 3gpp describes"),
        (
            document("trust-anchors: enrollment\nenrollment-anchors: {source: extra-certs}", bootstrap=VENDOR),
            "authorities.operator.enrollment-anchors.source: believes the root that comes along with the first answer",
        ),
        (
            document(identity="renewal: {method: enroll}"),
            "identities.ike.renewal.method: takes a new one-time secret for each renewal",
        ),
        (
            document("enrollment-anchors: {source: extra-certs}"),
            "authorities.operator.enrollment-anchors.source: changes nothing beside trust anchors that are named",
        ),
        (document(identity="renewal: {at: 50%}"), "identities.ike.renewal.at: is sooner than two thirds of the life"),
    ],
)
def test_what_is_probably_not_meant_is_warned_about(text: str, said: str) -> None:
    (notice,) = config.warnings(parse(text))
    assert str(notice).startswith(said)
    assert str(notice) == f"{notice.key}: {notice.text} ({notice.remedy})"


def test_identities_that_share_a_key_and_part_at_renewal_are_warned_about() -> None:
    key = "key: {existing: factory.key}"
    first = document(identity=key)
    second = first[first.index("  ike:") :].replace("ike:", "oam:")
    assert [notice.key for notice in config.warnings(parse(first))] == []
    assert [notice.key for notice in config.warnings(parse(first + second))] == [
        "identities.ike.key.existing",
        "identities.oam.key.existing",
    ]
    same = second.replace(key, f"{key}\n    renewal: {{key: same}}")
    assert [notice.key for notice in config.warnings(parse(first + same))] == ["identities.ike.key.existing"]


def test_a_configuration_without_identities_is_warned_about() -> None:
    text = "authorities: {a: {urls: [http://a.example], trust-anchors: enrollment}}\nidentities: {}\n"
    assert [notice.key for notice in config.warnings(parse(text))] == ["identities", "authorities.a"]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        (document(), []),
        (document(identity="request: p10cr\nkey: {existing: factory.key}"), []),
        (document("profile: backhaul"), []),
        (document(bootstrap=VENDOR), []),
        (document(identity="key: {store: hsm}", top=TOKEN), []),
        (document(identity="deploy: [{strongswan: {}}, {directory: {path: /etc/ike}}]"), []),
    ],
)
def test_what_this_version_reads_without_acting_on_it_is_told(text: str, keys: list[str]) -> None:
    assert [notice.key for notice in config.unsupported(parse(text))] == keys


def test_a_rule_about_a_value_that_could_not_be_read_is_passed_over_and_others_are_not() -> None:
    text = document("profile: 4gpp\nimplicit-confirmation: true\nhttp: {tls-key: a.key, proxy: x}", "key: {store: hsm}")
    assert [line.split(": ")[0] for line in refused(text)] == [
        "authorities.operator.profile",
        "authorities.operator.http.tls-key",
        "authorities.operator.http.proxy",
        "identities.ike.key.store",
    ]


def test_a_rule_about_a_default_is_placed_at_the_section_around_it() -> None:
    text = document("urls: [https://b.example]\nhttp: {connect-timeout: 1s}")
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    line = next(number for number, line in enumerate(text.splitlines(), 1) if "http:" in line)
    assert caught.value.mistakes[0].startswith(f"{SOURCE}:{line}: authorities.operator.http.tls-trust-anchors: ")


def test_whoever_looks_at_a_value_that_could_not_be_read_is_stopped() -> None:
    for look in (str, bool, hash, len, list, lambda value: value == 1, lambda value: value.key, lambda value: value[0]):
        with pytest.raises(UnreadValue):
            look(UNREAD)


def test_every_rule_is_about_a_key_that_exists_and_reads_as_a_sentence() -> None:
    for book in rules.WEIGHTS.values():
        for part in ("whole", "authority", "identity", "target", "token"):
            for rule in getattr(book, part):
                assert rule.text[0].islower()
                assert not rule.text.endswith(".")


def both_write(first: str, second: str, path: str = "/etc/ike/") -> str:
    one, other = (
        f"deploy: [{{directory: {{path: {where}{more}}}}}]" for where, more in (("/etc/ike", first), (path, second))
    )
    return document(identity=one, top=SIGNER.removesuffix("}") + f", {other}}}")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        (", switching: files", ", switching: files"),
        (", switching: files, layout: swanctl", ", layout: swanctl"),
        (", switching: files, names: {certificate: a.pem}", ", switching: files"),
        (", switching: files, names: {certificate: a.pem}", ", switching: files, names: {private-key: a.pem}"),
    ],
)
def test_two_consumers_in_one_directory_are_refused_at_both(first: str, second: str) -> None:
    assert [line.split(":")[0] for line in refused(both_write(first, second))] == [
        "identities.ike.deploy[0].directory.path",
        "identities.sign.deploy[0].directory.path",
    ]


def test_two_consumers_of_one_identity_in_one_directory_are_refused() -> None:
    one = "{directory: {path: /etc/ike, switching: files, layout: swanctl}}"
    assert len(refused(document(identity=f"deploy: [{one}, {one}]"))) == 2


@pytest.mark.parametrize(
    ("first", "second", "path"),
    [
        ("", "", "/etc/seg"),
        (", switching: files, layout: swanctl", ", switching: files, layout: swanctl", "/etc/ike"),
        (
            ", switching: files, names: {certificate: a.pem}",
            ", switching: files, names: {certificate: b.pem}",
            "/etc/ike",
        ),
    ],
)
def test_consumers_whose_files_stay_apart_may_share_a_directory(first: str, second: str, path: str) -> None:
    assert len(parse(both_write(first, second, path)).identities) == 2
