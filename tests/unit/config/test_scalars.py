from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from agent.config import scalars
from agent.config.document import Listing, Scalar, Table
from agent.config.findings import Wrong
from agent.config.scalars import Kind
from agent.settings import Format

PLACE = (1, 1)
WORDS = ("yes", "no", "on", "off", "true", "false", "null", ".inf", ".nan", "y")
TAGS = {
    Kind.TEXT: {"str", "merge", "value"},
    Kind.NOTHING: {"null"},
    Kind.TRUTH: {"bool"},
    Kind.INTEGER: {"int"},
    Kind.DECIMAL: {"float"},
    Kind.OCTAL: {"int"},
    Kind.SEXAGESIMAL: {"int", "float"},
    Kind.OTHER_NUMBER: {"int", "float"},
    Kind.DATE: {"timestamp"},
}


def plain(text: str) -> Scalar:
    return Scalar(PLACE, text, plain=True)


def quoted(text: str) -> Scalar:
    return Scalar(PLACE, text, plain=False)


def refusal(read: Callable[[], object]) -> str:
    with pytest.raises(Wrong) as caught:
        read()
    return f"{caught.value.text} ({caught.value.remedy})"


@example("0640")
@example("12:30:00")
@example("1:2.5")
@example("2026-01-31")
@example("2026-1-3 4:05:06.7 +1:00")
@example("1_000")
@example("0x1F")
@example("-.5")
@example("<<")
@given(
    st.text(st.sampled_from("0123456789+-._:eExbTZ tnrufalsyo~=<INF"), max_size=12)
    | st.sampled_from([word for base in WORDS for word in (base, base.title(), base.upper())])
)
def test_plain_words_are_what_yaml_takes_them_for(text: str) -> None:
    loader = yaml.SafeLoader("")
    tag: str = loader.resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
    assert tag.removeprefix("tag:yaml.org,2002:") in TAGS[scalars.kind_of(plain(text))]
    assert scalars.kind_of(quoted(text)) is Kind.TEXT


@pytest.mark.parametrize(
    "text", ["4711", "+46701234567", "1.10", "ike", "10s", "00:11:22:33:44:55", "08", "1e5", "=", "<<"]
)
def test_words_and_decimal_numbers_are_texts_as_they_stand(text: str) -> None:
    assert scalars.text(plain(text)) == text


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no", "true or false"),
        ("on", "true or false"),
        ("0640", "an octal number"),
        ("12:30:00", "a number in base 60"),
        ("2026-01-31", "a date"),
        ("0x1f", "a number in another notation"),
        ("1_000", "a number in another notation"),
        (".inf", "a number in another notation"),
    ],
)
def test_a_text_that_yaml_reads_as_something_else_needs_quotes(text: str, kind: str) -> None:
    assert (
        refusal(lambda: scalars.text(plain(text)))
        == f"expected a text, but YAML reads this as {kind} (put it in quotes)"
    )
    assert scalars.text(quoted(text)) == text


@pytest.mark.parametrize("node", [plain(""), plain("~"), plain("null"), quoted(""), Listing(PLACE), Table(PLACE)])
def test_a_text_is_never_nothing(node: Scalar | Listing | Table) -> None:
    assert "the text is empty" in (said := refusal(lambda: scalars.text(node))) or "found " in said


@pytest.mark.parametrize("text", ["a\nb", "a\tb", "\x1b[2J", "a\x00", "a\u2028b"])
def test_a_text_holds_no_control_characters(text: str) -> None:
    assert "control character, U+" in refusal(lambda: scalars.text(quoted(text)))


def test_a_text_has_an_end() -> None:
    assert "longer than 4096" in refusal(lambda: scalars.text(plain("x" * 4097)))


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("FALSE", False)])
def test_truth_is_true_or_false(text: str, value: bool) -> None:
    assert scalars.truth(plain(text)) is value


@pytest.mark.parametrize(
    ("node", "remedy"),
    [
        (plain("yes"), "(write true)"),
        (plain("Off"), "(write false)"),
        (quoted("true"), "(remove the quotes)"),
        (plain("1"), "found an integer (write true or false)"),
        (plain("maybe"), "found a text (write true or false)"),
        (Listing(PLACE), "found a list (write a single value)"),
    ],
)
def test_other_ways_to_say_yes_are_refused(node: Scalar, remedy: str) -> None:
    assert refusal(lambda: scalars.truth(node)).endswith(remedy)


@pytest.mark.parametrize(
    ("node", "said"),
    [
        (plain("0640"), "found an octal number"),
        (plain("1_000"), "found a number in another notation"),
        (plain("1.0"), "found a number ("),
        (plain("ten"), "found a text"),
        (quoted("10"), "(remove the quotes)"),
        (plain("true"), "found true or false"),
        (plain(""), "found no value"),
        (plain("9" * 5000), "too large"),
    ],
)
def test_a_whole_number_is_decimal_digits(node: Scalar, said: str) -> None:
    assert said in refusal(lambda: scalars.integer(node))
    assert scalars.integer(plain("-12")) == -12


@pytest.mark.parametrize(
    ("node", "seconds"), [(plain("10"), 10), (plain("10s"), 10), (quoted("5m"), 300), (plain("0.5"), 0.5)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(node: Scalar, seconds: float) -> None:
    assert scalars.amount(node, Format.DURATION) == seconds


@pytest.mark.parametrize("text", ["-1", "1:30", "soon", "10 s", "1_0", ".nan", "yes"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    assert "expected a duration such as 30s, 5m or 24h, found " in refusal(
        lambda: scalars.amount(plain(text), Format.DURATION)
    )


def test_a_number_without_a_format_is_a_number() -> None:
    assert scalars.amount(plain("1.5"), None) == 1.5
    assert "expected a number, found a text" in refusal(lambda: scalars.amount(plain("1s"), None))


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


def test_a_choice_is_one_of_its_words() -> None:
    assert scalars.choice(plain("red"), Colour) is Colour.RED
    assert refusal(lambda: scalars.choice(plain("rde"), Colour)) == (
        "expected one of red, blue, found 'rde' (did you mean red?)"
    )
    assert refusal(lambda: scalars.choice(plain("x"), Colour)).endswith("found 'x' (choose one of red, blue)")
