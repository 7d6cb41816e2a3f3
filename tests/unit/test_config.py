from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent import config
from agent.errors import ConfigurationError
from agent.settings import ProfileName, Settings
from agent.structure import to_json

ROOT = Path(__file__).parents[2]
SOURCE = Path("/etc/enrolld/enrolld.yaml")

MINIMAL = """\
authorities:
  operator:
    urls: [http://ra.example/cmp]
    trust-anchors: [root.pem]
identities:
  ike:
    authority: operator
    subject: CN=enb
    bootstrap:
      shared-secret: {reference: 4711, secret: "credential:ike"}
"""

WHOLE = """\
state-directory: /var/lib/enrolld
runtime-directory: /run/enrolld
authorities:
  operator:
    urls: [http://ra1.operator.example/.well-known/cmp, http://ra2.operator.example/.well-known/cmp]
    profile: lightweight            # lightweight | 3gpp | backhaul
    trust-anchors: [operator-root.pem]
    sender: "CN=Operator RA,O=Operator"
    recipient: "CN=Operator RA,O=Operator"
    mac: {algorithm: pbm, one-way-function: sha256, mac: hmac-sha256, iterations: 10000}
    certificate-profile: gnb
    quirks: []
identities:
  ike:
    authority: operator
    subject: "CN=enb-4711.ran.operator.example,O=Operator"
    alternative-names: ["dns:enb-4711.ran.operator.example", "ip:192.0.2.7"]
    key: {algorithm: ec-p256, store: software}
    bootstrap:
      shared-secret: {reference: enb-4711, secret: "credential:ike-secret"}
    request: ir                     # ir | cr | p10cr
    renewal: {method: kur, key: new, at: 66%, jitter: 5%}
    deploy:
      - strongswan: {vici: /run/charon.vici, connections: [backhaul]}
      - directory: {path: /etc/ike, mode: "0640", group: ipsec}
      - hook: {command: [/usr/libexec/reload-ike], timeout: 30s}
tokens:
  hsm: {module: /usr/lib/softhsm/libsofthsm2.so, label: enb, pin: "credential:hsm-pin"}
"""


def parse(text: str) -> Settings:
    return config.parse(text, source=SOURCE)


def mistakes(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.remedy
    return caught.value.mistakes


# ------------------------------------------------------------------------------------------------ what loads


def test_the_smallest_file_is_filled_with_defaults() -> None:
    settings = parse(MINIMAL)
    assert settings.state_directory == Path("/var/lib/enrolld")
    assert settings.authorities["operator"].http.connect_timeout == 10.0
    assert settings.identities["ike"].renewal.at == "66%"
    assert settings.tokens == {}


def test_a_file_with_everything_in_it_loads() -> None:
    settings = parse(WHOLE)
    ike = settings.identities["ike"]
    assert settings.authorities["operator"].urls[1] == "http://ra2.operator.example/.well-known/cmp"
    assert ike.alternative_names == ("dns:enb-4711.ran.operator.example", "ip:192.0.2.7")
    assert [target.hook is not None for target in ike.deploy] == [False, False, True]
    assert settings.tokens["hsm"].label == "enb"
    assert config.warnings(settings) == ()


def test_relative_paths_start_in_the_directory_of_the_file() -> None:
    text = MINIMAL.replace("credential:ike", "file:../secret") + "    key: {existing: factory.key}\n"
    settings = parse(text + "state-directory: state\n")
    assert settings.state_directory == Path("/etc/enrolld/state")
    assert settings.authorities["operator"].trust_anchors == (Path("/etc/enrolld/root.pem"),)
    ike = settings.identities["ike"]
    assert ike.key.existing == "/etc/enrolld/factory.key"
    assert ike.bootstrap.shared_secret is not None
    assert ike.bootstrap.shared_secret.secret == "file:/etc/enrolld/../secret"


def test_a_relative_file_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "enrolld.yaml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path)
    assert config.load(Path("enrolld.yaml")).authorities["operator"].trust_anchors == (tmp_path / "root.pem",)


def test_the_word_enrollment_stands_for_anchors_that_are_learned() -> None:
    assert parse(MINIMAL.replace("[root.pem]", "enrollment")).authorities["operator"].trust_anchors is None


def test_a_plain_number_is_taken_as_the_text_that_stands_in_the_file() -> None:
    secret = parse(MINIMAL).identities["ike"].bootstrap.shared_secret
    assert secret is not None
    assert secret.reference == "4711"


def test_lines_may_end_as_on_windows() -> None:
    assert parse(MINIMAL.replace("\n", "\r\n")) == parse(MINIMAL)


def test_json_is_read_too() -> None:
    assert parse(json.dumps(to_json(parse(WHOLE)))) == parse(WHOLE)


# ------------------------------------------------------------------------------------------------ mistakes


def test_a_mistake_names_file_line_key_what_is_wrong_and_what_to_do() -> None:
    assert mistakes(MINIMAL.replace("authority: operator", "authority: opertor")) == (
        (
            "/etc/enrolld/enrolld.yaml:7: identities.ike.authority: must be the name of an authority "
            "(did you mean operator?)"
        ),
    )


def test_all_mistakes_are_named_at_once_in_the_order_of_the_file() -> None:
    text = """\
authorities:
  operator:
    urls: [ftp://ra.example, "http://ok.example"]
    trust_anchors: [root.pem]
    mac: {iterations: 1, one-way-function: sha1}
identities:
  ike:
    authority: operatr
    subject: "CN enb"
    key: {store: hms, algorithm: ec-p25}
    renewal: {at: 96%, jitter: 21%}
    request: IR
tokens:
  hsm: {module: lib.so, label: enb, pin: "credential:pin"}
  hsm: {module: lib.so, label: enb, pin: "credential:pin"}
"""
    starts = [line.removeprefix(f"{SOURCE}:").split(" (")[0] for line in mistakes(text)]
    assert starts == [
        "3: authorities.operator.urls[0]: the URL begins with 'ftp'",
        "4: authorities.operator.trust_anchors: this key is unknown",
        "5: authorities.operator.mac.iterations: expected 100 to 1000000, found 1",
        "5: authorities.operator.mac.one-way-function: may be sha1 in profile backhaul only",
        "7: identities.ike.bootstrap: this key is missing",
        "8: identities.ike.authority: must be the name of an authority",
        "9: identities.ike.subject: 'CN enb' has no = between attribute and value",
        "10: identities.ike.key.store: must be `software` or the name of a token",
        (
            "10: identities.ike.key.algorithm: expected one of rsa-2048, rsa-3072, rsa-4096, ec-p256, ec-p384, "
            "ec-p521, ed25519, ed448, ml-dsa-44, ml-dsa-65, ml-dsa-87, x25519, rsa-1024, dsa-1024, found 'ec-p25'"
        ),
        "11: identities.ike.renewal.at: expected 1% to 95%, found 96%",
        "11: identities.ike.renewal.jitter: expected 0% to 20%, found 21%",
        "12: identities.ike.request: expected one of ir, cr, p10cr, found 'IR'",
        "15: tokens.hsm: this key is given twice, first on line 14",
    ]


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("trust_anchor", "did you mean trust-anchors?"),
        ("URLs", "did you mean urls?"),
        ("iterations", "it belongs under authorities.NAME.mac"),
        ("state-directory", "it belongs at the left margin"),
        ("zzz", "choose one of urls, profile, trust-anchors"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one_or_the_place_it_belongs(key: str, remedy: str) -> None:
    (line,) = mistakes(MINIMAL.replace("    urls:", f"    {key}: 1\n    urls:"))
    assert f":3: authorities.operator.{key}: this key is unknown ({remedy}" in line


def test_a_misspelt_key_is_not_called_missing_as_well() -> None:
    assert len(mistakes(MINIMAL.replace("subject:", "subjct:"))) == 1
    assert len(mistakes(MINIMAL.replace("shared-secret:", "shared-secrets:"))) == 1


def test_a_missing_key_is_named_with_what_it_is_for() -> None:
    assert mistakes(MINIMAL.replace("    subject: CN=enb\n", "")) == (
        f"{SOURCE}:6: identities.ike.subject: this key is missing (add it: distinguished name to ask for)",
    )


@pytest.mark.parametrize(
    ("bootstrap", "said"),
    [
        ("{}", "expected exactly one of shared-secret, vendor-certificate, found none"),
        (
            "{shared-secret: {reference: a, secret: prompt}, vendor-certificate: {certificate: a.pem, key: a.key}}",
            "expected exactly one of shared-secret, vendor-certificate, found shared-secret and vendor-certificate",
        ),
    ],
)
def test_there_is_exactly_one_bootstrap(bootstrap: str, said: str) -> None:
    text = MINIMAL[: MINIMAL.index("    bootstrap:")] + f"    bootstrap: {bootstrap}\n"
    assert f"{SOURCE}:9: identities.ike.bootstrap: {said}" in mistakes(text)[0]


def test_each_entry_of_deploy_has_exactly_one_kind() -> None:
    text = (
        MINIMAL
        + "    deploy:\n      - {}\n      - {strongswan: {}, hook: {command: [/bin/true]}}\n      - strongswan:\n"
    )
    assert [line.rsplit(" (", 1)[0] for line in mistakes(text)] == [
        f"{SOURCE}:12: identities.ike.deploy[0]: expected exactly one of strongswan, directory, hook, found none",
        (
            f"{SOURCE}:13: identities.ike.deploy[1]: expected exactly one of strongswan, directory, hook, "
            "found strongswan and hook"
        ),
        (
            f"{SOURCE}:14: identities.ike.deploy[2].strongswan: expected keys (vici, connections, initiate, timeout, "
            "module, on-failure), found no value"
        ),
    ]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("urls: http://a.example", "urls: expected a list, found a text (write `urls: [http://ra1.operator.example/"),
        ("urls: []", "urls: expected 1 to 32 entries, found 0"),
        ("urls:", "urls: expected a list, found no value"),
        ("urls: [{a: b}]", "urls[0]: expected a text, found keys with values"),
        ("urls: [[a]]", "urls[0]: expected a text, found a list"),
        ("http: fast", "http: expected keys (connect-timeout, "),
        ("http:", "http: expected keys (connect-timeout, "),
        ("sender:", "sender: expected a text, found no value (give it a value, or remove the line)"),
        ("trust-anchors: enrolment", "or `trust-anchors: enrollment`"),
        ("quirks: [ignore-keyusage]", "quirks[0]: expected one of signed-response-to-mac, "),
        ("quirks: [ignore-keyusage]", "(did you mean ignore-key-usage?)"),
        ("implicit-confirmation: yes", "implicit-confirmation: expected true or false (write true)"),
        ("polling: {minimum: 2h, maximum: 1h}", "polling.maximum: must not be less than minimum"),
    ],
)
def test_a_value_of_the_wrong_form_is_named_with_what_was_expected_and_found(value: str, said: str) -> None:
    key = value.partition(":")[0]
    lines = [line for line in MINIMAL.splitlines() if not line.startswith(f"    {key}:")]
    lines.insert(2, f"    {value}")
    (line,) = [line for line in mistakes("\n".join(lines)) if f" authorities.operator.{key}" in line]
    assert line.startswith(f"{SOURCE}:3: authorities.operator.")
    assert said in line


@pytest.mark.parametrize(
    "name", ["ike/oam", "-ike", ".ike", "i k e", "ïke", "x" * 65, '""', "no", "0640", "2026-01-31", "[a]", "~"]
)
def test_a_name_that_could_not_be_a_directory_is_refused(name: str) -> None:
    assert ":6: identities" in mistakes(MINIMAL.replace("  ike:", f"  {name}:"))[0]


@pytest.mark.parametrize("name", ["ike", "4711", "enb.4711", "A_b-c", "x" * 64, "0"])
def test_a_name_of_letters_and_digits_is_taken(name: str) -> None:
    assert list(parse(MINIMAL.replace("  ike:", f"  {name}:")).identities) == [name]


def test_a_name_with_a_dot_is_shown_in_quotes() -> None:
    text = MINIMAL.replace("  ike:", "  enb.1:").replace("CN=enb", "enb")
    assert "identities.'enb.1'.subject: " in mistakes(text)[0]


def test_what_a_message_repeats_cannot_command_a_terminal() -> None:
    text = MINIMAL.replace("    urls:", '    "\\e[2J\\nurls\\u202e": 1\n    urls:')
    (line,) = mistakes(text)
    assert line.isprintable()
    assert "authorities.operator.'\\x1b[2J\\nurls\\u202e': this key is unknown" in line


def test_a_secret_in_clear_is_refused_and_not_repeated() -> None:
    secret = "hunter2-hunter2"
    for value in (
        secret,
        f"'{secret}'",
        f"[{secret}]",
        f"!{secret} x",
        f"*{secret}",
        f"&{secret} x",
        f"credential:{secret} x",
    ):
        lines = mistakes(MINIMAL.replace('"credential:ike"', value))
        assert ":10: " in lines[0]
        assert secret not in "".join(lines)


def test_more_than_a_hundred_mistakes_are_not_listed() -> None:
    with pytest.raises(ConfigurationError, match="more than 100 mistakes") as caught:
        parse("".join(f"key-{number}: 1\n" for number in range(1000)))
    assert len(caught.value.mistakes) == 100


def test_a_syntax_error_after_a_hundred_mistakes_is_no_surprise() -> None:
    assert len(mistakes("a: 1\n" * 101 + "b: [")) == 100
    assert len(mistakes("a: 1\n" * 100 + "b: [")) == 100


def test_the_summary_counts_the_mistakes() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(MINIMAL.replace("CN=enb", "enb"))
    assert str(caught.value) == f"there is one mistake in the configuration {SOURCE}"
    with pytest.raises(ConfigurationError) as caught:
        parse("{}")
    assert str(caught.value) == f"there are 2 mistakes in the configuration {SOURCE}"
    assert caught.value.remedy == "Correct what is listed, then run `enrollctl config check`."


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ": the file is empty ("),
        (b"# nothing\n", ": the file is empty ("),
        (b"\xef\xbb\xbf" + MINIMAL.encode(), ":1: there is a byte order mark (save the file as UTF-8 without it"),
        (MINIMAL.encode("utf-16"), ":1: the file is not UTF-8 ("),
        (
            b"a: 1\nb: caf\xe9\n",
            ":2: the file is not UTF-8 (save it as UTF-8: iconv -f ISO-8859-1 -t UTF-8 enrolld.yaml)",
        ),
        (b"#" * 1_048_577, ": the file is larger than 1048576 octets ("),
        (b"a: \0", ":1: there is a character this file may not hold, U+0000 ("),
    ],
)
def test_a_file_that_is_no_yaml_text_is_refused_in_plain_words(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "enrolld.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        config.load(path)
    (line,) = caught.value.mistakes
    assert line.startswith(f"{path}{said}")


def test_a_file_that_cannot_be_opened_is_refused_in_plain_words(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, said in {
        "pipe/x": "there is no file {path}",
        "": "{path} is a directory",
        "pipe": "{path} cannot be read: not a regular file",
        "loop": "{path} cannot be read: too many levels of symbolic links",
    }.items():
        path = tmp_path / name
        with pytest.raises(ConfigurationError) as caught:
            config.load(path)
        assert str(caught.value) == said.format(path=path)
        assert caught.value.remedy.endswith((".", "?"))


def test_where_there_is_no_file_yet_the_command_that_makes_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no configuration") as caught:
        config.load(tmp_path / "none.yaml")
    assert caught.value.mistakes == ()
    assert "enrollctl turn-up" in caught.value.remedy


def test_a_file_that_may_not_be_read_is_refused_in_plain_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # tests may run as root, whom no mode stops
    with pytest.raises(ConfigurationError) as caught:
        config.load(tmp_path / "x.yaml")
    assert str(caught.value) == f"{tmp_path / 'x.yaml'} may not be read by this user"
    assert caught.value.remedy.startswith("Look at `namei -l")
    assert caught.value.remedy.endswith("or use sudo.")


# ------------------------------------------------------------------------------------------------ size and weight


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "- " * 500_000,
        "-\n" * 500_000,
        "a: 1\n" * 200_000,
        "[" + "*a," * 300_000,
        "[" + "a," * 500_000,
        "---\n" * 250_000,
        "'" + "x\n" * 500_000,
        "".join(f"k{number}: 1\n" for number in range(80_000)),
        "authorities:\n" + "".join(f" k{number}: {{}}\n" for number in range(70_000)),
    ],
    ids=["brackets", "dashes", "entries", "twice", "aliases", "items", "documents", "quote", "keys", "names"],
)
def test_a_large_file_of_another_kind_is_refused_soon(text: str) -> None:
    start = time.process_time()
    assert len(mistakes(text)) <= 100
    assert time.process_time() - start < 5


def test_a_thousand_identities_load() -> None:
    head, _, one = MINIMAL.partition("  ike:\n")
    text = head + "".join(f"  ike{number}:\n{one}" for number in range(1000))
    assert len(parse(text).identities) == 1000


@pytest.mark.parametrize(
    "each",
    [
        "deploy: [{directory: {path: /srv/ike%d}}]",
        "key: {algorithm: ec-p256, usage: agreement}\n    renewal: {method: cr, signer: ike}",
    ],
    ids=["directories", "signers"],
)
def test_six_times_as_many_identities_take_about_six_times_as_long(each: str, request: pytest.FixtureRequest) -> None:
    """And not thirty-six times, as they would if each looked at all others."""
    request.addfinalizer(gc.enable)
    gc.disable()  # as the reader does; to look through what other tests have left takes longer than to read

    def seconds(many: int) -> float:
        _, _, one = MINIMAL.partition("  ike:\n")
        more = (f"  ike{number}:\n{one}    {each.replace('%d', str(number))}\n" for number in range(many))
        start = time.process_time()
        assert len(parse(MINIMAL + "".join(more)).identities) == many + 1
        return time.process_time() - start

    few, many = (min(seconds(number) for _ in range(5)) for number in (500, 3000))
    assert many < 10 * few


def test_loading_a_configuration_does_not_load_cryptography() -> None:
    script = (
        "import sys; from pathlib import Path; from agent import config;"
        "assert 'yaml' not in sys.modules; config.load(Path('config/enrolld.yaml'));"
        "heavy = {'cryptography', 'pyasn1', 'rich', 'click', 'agent.config.reference'};"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False).returncode == 0


def test_profiles_are_the_ones_the_rules_speak_of() -> None:
    assert set(ProfileName) == {"lightweight", "3gpp", "3gpp-strict", "backhaul"}
