"""A secret in any known form is masked, a text without one stays as it is, and masking twice changes nothing more."""

import time

import pytest
import secret_forms
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.core.redact import Masker, forms, lines, redacted

FORMS = (*secret_forms.ONE_LINE, *secret_forms.FLAGGED, *secret_forms.SEVERAL_LINES)
SECRET = "q7Zk9-Xw2LmP4vT"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_masked(form: str) -> None:
    text = secret_forms.planted(form, SECRET)
    masked = redacted(text)
    assert not secret_forms.leaks(masked, SECRET), masked
    assert redacted(masked) == masked


@pytest.mark.parametrize("text", secret_forms.CLEAN)
def test_a_text_without_a_literal_secret_stays_as_it_is(text: str) -> None:
    assert redacted(text) == text


@settings(max_examples=300, deadline=None)
@given(
    form=st.sampled_from(FORMS),
    secret=secret_forms.literals,
    name=secret_forms.names,
    yaml_name=st.sampled_from(secret_forms.YAML_NAMES),
    around=st.tuples(secret_forms.filler, secret_forms.filler),
)
def test_a_planted_secret_is_masked_between_any_lines(
    form: str, secret: str, name: str, yaml_name: str, around: tuple[str, str]
) -> None:
    text = "\n".join((around[0], secret_forms.planted(form, secret, name, yaml_name), "---", around[1]))
    masked = redacted(text)
    assert not secret_forms.leaks(masked, secret), masked
    assert redacted(masked) == masked
    assert masked.startswith(around[0])
    assert masked.endswith(around[1])
    mask = Masker()
    assert not secret_forms.leaks("\n".join(map(mask, text.split("\n"))), secret)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(secret_forms.CLEAN) | secret_forms.filler, max_size=6))
def test_texts_without_a_secret_stay_as_they_are_together(texts: list[str]) -> None:
    text = "\n\n".join(texts)
    assert redacted(text) == text


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200) | st.text("tokensecrpawd=:\"'\\ -${}()[],;\n/@.", max_size=200))
def test_any_text_is_masked_without_an_error_and_once(text: str) -> None:
    masked = redacted(text)
    assert redacted(masked) == masked
    assert masked.count("\n") <= text.count("\n")


@pytest.mark.parametrize("form", FORMS)
def test_what_a_rule_finds_holds_a_hint(form: str) -> None:
    for line in secret_forms.planted(form, SECRET).split("\n"):
        assert forms.masked_line(line) == line or lines.HINT.search(line)


def test_hints_need_no_lookaround() -> None:
    assert not [hint for hint in (*forms.HINTS, *lines.HINTS) if "(?=" in hint or "(?!" in hint or "(?<" in hint]


REPEATED = (
    "token=", "://a:b", "a-", "$token:", "--a-", "\\", 'token=\\"', "value: name: ", "login -p ", "curl -u ",
    "proxy=a:", 'password="', "token: '", "${", "wandb", "?token=", "sk-", "bearer ", "eyJa.", "name: ",
    "-----BEGIN PRIVATE KEY-----", "setenv TOKEN ", "echo a | --password-stdin", "uid=a;pwd", "://a@b.c:", "mysql -",
    "\"--a",
)  # fmt: skip


@pytest.mark.parametrize("piece", REPEATED)
def test_the_time_for_a_hostile_line_grows_with_its_length(piece: str) -> None:
    line = piece * (40_000 // len(piece))
    began = time.process_time()
    redacted(line)
    assert time.process_time() - began < 3  # quadratic rules took 100 s


@pytest.mark.parametrize("form", FORMS)
def test_a_hint_holds_a_literal(form: str) -> None:
    for line in secret_forms.planted(form, SECRET).split("\n"):
        assert lines.has_hint(line) == bool(lines.HINT.search(line))
