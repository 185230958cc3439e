from pathlib import Path
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tao_skill_bank.data import near_names


@pytest.mark.parametrize(
    ("name", "other", "how"),
    [
        ("Ep0.txt", "ep0.txt", "in upper and lower case"),
        ("caf\u00e9", "cafe\u0301", "in its Unicode form"),
        ("CAF\u00c9", "cafe\u0301", "in upper and lower case"),
        ("stra\u00dfe", "STRASSE", "in upper and lower case"),
    ],
)
def test_names_that_are_easily_taken_for_the_same_have_one_normal_form(name: str, other: str, how: str) -> None:
    assert near_names.normal(name) == near_names.normal(other)
    assert near_names.difference(name, other) == how


@given(st.text(max_size=20))
def test_the_normal_form_is_its_own(name: str) -> None:
    assert near_names.normal(near_names.normal(name)) == near_names.normal(name)


def test_other_names_stay_apart() -> None:
    assert near_names.normal("a.txt") != near_names.normal("b.txt")


COMPOSED, DECOMPOSED = (normalize(form, "vid\u00e9os/\u00e9.mp4") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("there", "name"), [(DECOMPOSED, COMPOSED), (COMPOSED, DECOMPOSED), ("Videos/A.MP4", "videos/a.mp4")]
)
def test_a_file_in_another_form_or_case_is_found(tmp_path: Path, there: str, name: str) -> None:
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).touch()
    assert near_names.near_misses(tmp_path, [name, "absent/b.mp4", "b.mp4"]) == {name: there}


def test_folders_are_not_taken_for_files(tmp_path: Path) -> None:
    (tmp_path / "A.mp4").mkdir()
    assert near_names.near_misses(tmp_path, ["a.mp4", "a.mp4/b.mp4"]) == {}
