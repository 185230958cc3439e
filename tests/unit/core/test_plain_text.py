import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.core import plain_text

LONGEST_PATH = "/".join(["a" * plain_text.MAX_COMPONENT_BYTES] * 12)


@pytest.mark.parametrize("text", ["", "a b", "ü/映像", "~", "$(x)", "a\u00a0b", "\ufeffa", "😀", "x" * 300])
def test_a_plain_line_has_no_fault(text):
    assert plain_text.fault_of_line(text) == plain_text.fault_of_prose(text) == ""


@pytest.mark.parametrize(
    ("character", "name"),
    [
        ("\n", "a line break"),
        ("\r", "a carriage return"),
        ("\t", "a tab"),
        ("\0", "NUL"),
        ("\x1b", "ESC"),
        ("\x07", "the control character U+0007"),
        ("\x9b", "the control character U+009B"),
        ("\u2028", "the control character U+2028"),
        ("\u202e", "the control character U+202E"),
        ("\udcff", "bytes that are not UTF-8"),
    ],
)
def test_what_a_line_must_not_hold_is_named_and_shown_as_its_escape(character, name):
    text = f"a{character}b"
    assert plain_text.fault_of_line(text) == plain_text.fault_of_path(text) == f"contains {name}"
    shown = plain_text.on_one_line(text)
    assert not plain_text.fault_of_line(shown)
    assert shown.encode("ascii").decode("unicode_escape").encode("utf-16", "surrogatepass") == text.encode(
        "utf-16", "surrogatepass"
    )


def test_every_control_character_and_surrogate_is_refused_in_a_line():
    hostile = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cs")]
    assert [character for character in hostile if not plain_text.fault_of_line(character)] == []


@pytest.mark.parametrize("text", ["two\nlines", "a\tb", "a\r\nb", "next\x85line", "\u2028", "\u202bעברית\u202c"])
def test_prose_keeps_tabs_line_ends_and_the_direction_of_text(text):
    assert plain_text.fault_of_prose(text) == ""
    assert plain_text.shown(text) == text


@pytest.mark.parametrize("text", ["\x1b[2J", "\0", "\x08", "\x9b31m", "\ud800", "\x7f"])
def test_what_moves_a_terminal_or_cannot_be_written_is_no_prose(text):
    assert plain_text.fault_of_prose(text).startswith("contains ")
    assert not plain_text.fault_of_prose(plain_text.shown(text))


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_shown_is_plain_and_plain_text_is_shown_as_it_is(text):
    assert not plain_text.fault_of_prose(plain_text.shown(text))
    assert plain_text.on_one_line(text).isprintable() or not plain_text.fault_of_line(plain_text.on_one_line(text))
    if not plain_text.fault_of_prose(text):
        assert plain_text.shown(text) == text


@pytest.mark.parametrize(
    ("text", "is_usable"),
    [
        (LONGEST_PATH, True),
        ("a" * 255, True),
        ("a" * 256, False),
        ("ü" * 127, True),
        ("ü" * 128, False),
        (f"folder/{'a' * 256}/file", False),
        (f"s3://bucket/{'a' * 256}", True),
        (f"hf_model://owner/{'a' * 256}", True),
        (f"/folder/x://{'a' * 256}", False),
        ("s3://bucket/" + "a" * plain_text.MAX_PATH_BYTES, False),
        ("a/" * 1536, True),
        ("a/" * 1537, False),
    ],
)
def test_a_path_is_refused_where_no_file_system_could_hold_it(text, is_usable):
    assert (plain_text.fault_of_path(text) == "") == is_usable
    assert is_usable or "bytes" in plain_text.fault_of_path(text)


@pytest.mark.parametrize(
    ("text", "is_possible"), [("", True), ("a\nb", True), ("\udcff", True), ("a\0", False), ("a" * 256, False)]
)
def test_a_file_system_holds_any_characters_but_nul_and_no_longer_name(text, is_possible):
    assert plain_text.is_possible_path(text) == is_possible


@pytest.mark.parametrize(("text", "quoted"), [("a", "a"), ("a" * 80, "a" * 80), ("a" * 81, "a" * 80 + "...")])
def test_a_message_quotes_the_beginning_of_a_text(text, quoted):
    assert plain_text.quoted(text) == quoted
