import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.core import yaml12
from tao_skill_bank.errors import RequestError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
TREES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1), inner), max_leaves=8)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("off", "off"),
        ("on", "on"),
        ("yes", "yes"),
        ("no", "no"),
        ("1e-5", 1e-5),
        ("1E5", 1e5),
        (".5", 0.5),
        ("true", True),
        ("null", None),
        ("", None),
        ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"),
        ("0o17", 15),
        ("0x1F", 31),
        ("012", 12),
        ("[q_proj, v_proj]", ["q_proj", "v_proj"]),
    ],
)
def test_values_are_read_by_the_rules_of_yaml_1_2(text: str, value: object) -> None:
    assert yaml12.parse(text, "--set") == value
    assert type(yaml12.parse(text, "--set")) is type(value)


@pytest.mark.slow
@given(TREES)
def test_rendered_yaml_reads_back_the_same_under_1_1_and_1_2(value: object) -> None:
    text = yaml12.render(value)
    assert yaml12.parse(text, "document") == value
    assert yaml.safe_load(text) == value


@pytest.mark.parametrize(
    "word", ["off", "yes", "1e-5", "0o17", "012", "null", "true", "1:30", "~", "", "\x85", "a\u2028b"]
)
def test_a_string_that_looks_like_something_else_stays_a_string(word: str) -> None:
    text = yaml12.render({"key": word})
    assert yaml12.parse(text, "document") == {"key": word} == yaml.safe_load(text)


@pytest.mark.parametrize("text", ["a: &x [1]\nb: *x", "&a [*a]"])
def test_aliases_are_refused_so_that_no_document_grows_without_bound(text: str) -> None:
    with pytest.raises(RequestError, match="aliases are not supported"):
        yaml12.parse(text, "--set")


def test_a_key_that_is_given_twice_is_refused_where_it_stands() -> None:
    with pytest.raises(RequestError, match=r"at line 3, column 3: epoch is given twice"):
        yaml12.parse("train:\n  epoch: 1\n  epoch: 2\n", "request.yaml")


def test_a_mistake_is_named_with_its_line_and_column() -> None:
    with pytest.raises(RequestError, match=r"request\.yaml is not valid YAML at line 2, column"):
        yaml12.parse("a: 1\nb: [1, 2", "request.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        (" ", " "),
        ("a b, ", "a b, "),
        ("a\nb", "a\nb"),
        ('"a "', "a "),
        ("~", None),
        ("1", 1),
        ("[a, b]", ["a", "b"]),
    ],
)
def test_a_typed_value_is_an_empty_text_when_nothing_is_typed_and_text_stays_verbatim(text: str, value: object) -> None:
    assert yaml12.parse_value(text, "--set key") == value


def test_a_comment_in_a_typed_value_is_refused_with_the_quoted_value() -> None:
    with pytest.raises(RequestError) as caught:
        yaml12.parse_value("Task #1", "--set prefix")
    assert caught.value.problems[0].fix.endswith("""--set prefix='"Task #1"'""")
