import pytest

from tao_skill_bank.data.records import media_names
from tao_skill_bank.data.records.issues import Issues


def read(value, kind="video"):
    issues = Issues()
    name = media_names.read(value, kind, "video", issues)
    return name, issues.found


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("a/b.mp4", "a/b.mp4"),
        ("clip", "clip"),
        ("file:///data/a%20b.mp4", "/data/a b.mp4"),
        ("é" * 100 + ".mp4", "é" * 100 + ".mp4"),
        ("animation.gif", "animation.gif"),
    ],
)
def test_names_of_local_files_are_read(value, name):
    assert read(value) == (name, [])


@pytest.mark.parametrize(
    ("value", "code", "words"),
    [
        ("https://host/a.mp4", "media_address", "https://host/a.mp4"),
        ("s3://bucket/a.mp4", "media_address", "s3://bucket/a.mp4"),
        ("data:video/mp4;base64,AAAA" + "A" * 5000, "media_address", "data:video/mp4"),
        ("/9j/" + "A" * 5000, "media_address", "5004 characters of base64"),
        ("C:\\clips\\a.mp4", "media_name_windows", "write it as clips/a.mp4"),
        ("clips\\a.mp4", "media_name_windows", "write it as clips/a.mp4"),
        ("é" * 200 + ".mp4", "media_name_invalid", "255 bytes"),
        ("a b/" * 1500 + "a.mp4", "media_name_invalid", "255 bytes"),
        ("a\0.mp4", "media_name_invalid", "NUL"),
        ("\ud83d.mp4", "media_name_invalid", "not Unicode"),
        (" ", "media_name_invalid", "is empty"),
        (7, "media_name_invalid", "7 where a file name belongs"),
        (["a.mp4"], "media_name_invalid", "a list of 1"),
        ({"path": "a.mp4"}, "media_name_invalid", "an object of 1"),
        ("a.JPG", "media_kind", "a.JPG as a video"),
    ],
)
def test_other_names_are_refused_with_what_is_there(value, code, words):
    name, (issue,) = read(value)
    assert name == media_names.INVALID
    assert issue.code == code
    assert issue.place == "video"
    assert words in issue.detail
    assert len(issue.detail) < 300


def test_a_clip_under_the_key_of_images_is_refused():
    assert read("a.mp4", "image")[1][0].code == "media_kind"
