import json
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.data import prompt_pairs
from tao_skill_bank.data.prompt_pairs import PromptSet

NAMED = ("unsafe_names", "duplicate_names", "names_ambiguous")


def write(path: Path, text: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def codes(found: PromptSet) -> list[str]:
    return [problem.code for problem in found.problems]


def test_a_folder_pairs_prompts_with_what_lies_beside_them(tmp_path: Path) -> None:
    for name in ("lift.png", "push.JPG", "turn.webp", "go.mp4"):
        write(tmp_path / name)
    for name in ("lift", "push", "turn", "go", "alone"):
        write(tmp_path / f"{name}.txt", f" {name} it\n")
    found = prompt_pairs.read(tmp_path)
    assert [(prompt.name, prompt.prompt) for prompt in found.prompts] == [
        (name, f"{name} it") for name in ("alone", "go", "lift", "push", "turn")
    ]
    media = {prompt.name: (prompt.image or prompt.video or tmp_path).name for prompt in found.prompts}
    assert media == {
        "alone": tmp_path.name,
        "go": "go.mp4",
        "lift": "lift.png",
        "push": "push.JPG",
        "turn": "turn.webp",
    }
    assert found.prompts[1].video
    assert not found.prompts[1].image
    assert codes(found) == []


def test_every_fault_of_a_folder_is_found_in_one_pass(tmp_path: Path) -> None:
    for name in ("bare.png", "both.png", "both.mp4", "empty.jpg"):
        write(tmp_path / name)
    write(tmp_path / "both.txt", "x")
    write(tmp_path / "empty.txt", "\n")
    (tmp_path / "broken.txt").write_bytes(b"\xff")
    found = prompt_pairs.read(tmp_path)
    assert codes(found) == ["not_utf8", "prompt_missing", "prompt_empty", "image_and_video"]
    assert "bare.png" in found.problems[1].message


def test_a_jsonl_file_names_media_relative_to_itself(tmp_path: Path) -> None:
    write(tmp_path / "frames" / "a.png")
    write(tmp_path / "b.mp4")
    entries = [
        {"prompt": "one", "image": "frames/a.png"},
        {"prompt": "two", "video": "b.mp4", "name": "second", "image": None},
        {"prompt": "three\u2028lines"},
    ]
    write(tmp_path / "set.jsonl", "\n\n".join(json.dumps(entry, ensure_ascii=False) for entry in entries))
    found = prompt_pairs.read(tmp_path / "set.jsonl")
    assert codes(found) == []
    assert [prompt.name for prompt in found.prompts] == ["a", "second", "prompt_0005"]
    assert found.prompts[0].image == tmp_path / "frames" / "a.png"
    assert found.prompts[1].video == tmp_path / "b.mp4"


@pytest.mark.parametrize(
    ("line", "code", "detail"),
    [
        ("{", "prompts_unreadable", "invalid JSON"),
        ("[" * 5000, "prompts_unreadable", ""),
        ("[1]", "prompts_unreadable", "not a JSON object"),
        ('{"prompt": "x", "picture": "a.png"}', "prompts_unreadable", "unknown picture"),
        ('{"prompt": 3}', "prompts_unreadable", "expected a string: prompt"),
        ("{}", "prompt_empty", ""),
        ('{"prompt": "x", "image": "a.png", "video": "b.mp4"}', "image_and_video", "a.png, b.mp4"),
        ('{"prompt": "x", "image": "none.png"}', "prompt_media_missing", "none.png"),
        ('{"prompt": "x", "video": "frame.png"}', "prompt_media_format", "frame.png"),
        ('{"prompt": "x", "image": "clip.mov"}', "prompt_media_format", "clip.mov"),
        ('{"prompt": "\\ud800"}', "prompts_unreadable", "surrogate"),
        ('{"prompt": "x", "name": "ONE"}', "names_ambiguous", "ONE"),
        ('{"prompt": "x", "name": "../x"}', "unsafe_names", "../x"),
        ('{"prompt": "x", "name": ".x"}', "unsafe_names", ".x"),
        ('{"prompt": "x", "name": "a\\u0000b"}', "unsafe_names", "x00"),
        ('{"prompt": "x", "name": "one"}', "duplicate_names", "one"),
    ],
)
def test_a_bad_line_is_told_with_its_number_or_name(tmp_path: Path, line: str, code: str, detail: str) -> None:
    write(tmp_path / "frame.png")
    write(tmp_path / "clip.mov")
    write(tmp_path / "set.jsonl", f'{{"prompt": "x", "name": "one"}}\n{line}\n')
    found = prompt_pairs.read(tmp_path / "set.jsonl")
    assert codes(found) == [code]
    assert detail in found.problems[0].message
    assert ("line 2" in found.problems[0].message) is (code not in NAMED)


@pytest.mark.parametrize("source", ["nowhere", "notes.md", "empty"])
def test_a_source_without_prompts_says_what_one_looks_like(tmp_path: Path, source: str) -> None:
    write(tmp_path / "notes.md", "x")
    (tmp_path / "empty").mkdir()
    found = prompt_pairs.read(tmp_path / source)
    assert codes(found) == ["no_test_pairs"]
    assert ".jsonl" in found.problems[0].fix


def test_names_that_are_too_long_for_a_file_are_refused() -> None:
    assert prompt_pairs.is_safe_name("pick up the rubik's cube, then stop")
    assert not prompt_pairs.is_safe_name("ü" * 101)


@pytest.mark.parametrize("suffix", ["png", "JPG", "jpeg", "jfif", "webp", "bmp", "tif", "tiff", "gif", "ppm"])
@pytest.mark.parametrize("folder", ["", "images"])
def test_a_first_frame_has_any_usual_format_and_may_lie_in_images(tmp_path: Path, suffix: str, folder: str) -> None:
    write(tmp_path / "lift.TXT", "Lift it.")
    write(tmp_path / folder / f"lift.{suffix}")
    found = prompt_pairs.read(tmp_path)
    assert [(prompt.prompt, prompt.image) for prompt in found.prompts] == [
        ("Lift it.", tmp_path / folder / f"lift.{suffix}")
    ]
    assert found.issues == ()


@pytest.mark.parametrize(
    ("files", "code", "item"),
    [
        (["a.txt", "a.mov"], "prompt_media_format", "a.mov"),
        (["a.txt", "images/a.heic"], "prompt_media_format", "images/a.heic"),
        (["a.txt", "a.png", "images/a.png"], "image_and_video", "a"),
        (["caf\u00e9.txt", "cafe\u0301.png"], "prompt_name_differs", "cafe\u0301.png"),
        (["a.txt", "A.png"], "prompt_name_differs", "A.png"),
        (["a.txt", "b.bmp"], "prompt_missing", "b.bmp"),
        (["a.txt", "A.txt"], "names_ambiguous", "A"),
    ],
)
def test_a_picture_is_never_left_out_in_silence(tmp_path: Path, files: list[str], code: str, item: str) -> None:
    for file in files:
        write(tmp_path / file, "Lift it.")
    found = prompt_pairs.read(tmp_path)
    assert code in codes(found)
    assert item in next(problem for problem in found.problems if problem.code == code).got
    assert all(problem.fix for problem in found.problems)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    for name in ("a.txt", "more/b.txt", "more/b.png", "notes.md", ".hidden.png"):
        write(tmp_path / name, "Lift it.")
    (tmp_path / "linked").symlink_to(tmp_path / "more")
    found = prompt_pairs.read(tmp_path)
    assert ([prompt.name for prompt in found.prompts], codes(found)) == (["a"], [])
    assert {finding.code: (finding.severity, finding.evidence["items"]) for finding in found.findings} == {
        "prompts_in_other_folders": ("warning", ["more/b.png", "more/b.txt"]),
        "links_skipped": ("warning", ["linked"]),
        "files_not_read": ("info", ["notes.md"]),
    }


def test_a_prompt_in_utf_16_is_read_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("\ufeffD\u00e9place".encode("utf-16-le"))
    found = prompt_pairs.read(tmp_path)
    assert [prompt.prompt for prompt in found.prompts] == ["D\u00e9place"]
    assert [(issue.code, issue.detail) for issue in found.issues] == [("text_assumed", "it is UTF-16")]


NAMES = st.sampled_from(["a", "A", "b", "caf\u00e9", "cafe\u0301", ".hidden"])
SUFFIXES = st.sampled_from([".txt", ".TXT", ".png", ".gif", ".heic", ".mp4", ".mov", ".md", ""])
FILES = st.tuples(st.sampled_from(["", "images/", "videos/", "day/", ".cache/"]), NAMES, SUFFIXES).map("".join)


@settings(max_examples=150, deadline=None)
@given(files=st.dictionaries(FILES, st.sampled_from(["", "Lift it."]), max_size=10))
def test_every_file_is_used_or_named(files: dict[str, str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in files.items():
            write(root / name, content)
        found = prompt_pairs.read(root)
    visible = {name for name in files if not any(part.startswith(".") for part in name.split("/"))}
    texts = {name for name in visible if name.lower().endswith(".txt")}
    names = {prompt.name for prompt in found.prompts}
    used = {name for name in texts if name.rpartition(".")[0] in names}
    used |= {str(media.relative_to(root)) for each in found.prompts if (media := each.image or each.video)}
    named = {word for issue in found.issues for word in re.split(r"[ ,:]+", f"{issue.item} {issue.detail}")}
    named |= {name for name in visible if name.rpartition(".")[0].rpartition("/")[2] in named}
    assert visible - used - named == set()
