import unicodedata

import pytest

from tao_skill_bank.data.near_misses import difference, near_misses

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "vidéos/é.mp4") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("there", "name", "said"),
    [
        (DECOMPOSED, COMPOSED, "Unicode form"),
        (COMPOSED, DECOMPOSED, "Unicode form"),
        ("Videos/A.MP4", "videos/a.mp4", "case"),
    ],
)
def test_a_file_in_another_form_or_case_is_found(tmp_path, there, name, said):
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).touch()
    assert near_misses(tmp_path, [name, "absent/b.mp4", "b.mp4"]) == {name: there}
    assert difference(name, there) == said


def test_folders_are_not_taken_for_files(tmp_path):
    (tmp_path / "A.mp4").mkdir()
    assert near_misses(tmp_path, ["a.mp4", "a.mp4/b.mp4"]) == {}
