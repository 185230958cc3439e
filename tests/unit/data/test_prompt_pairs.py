import json
from pathlib import Path

import pytest

from tao_skill_bank.data import prompt_pairs
from tao_skill_bank.data.prompt_pairs import PromptSet


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
    assert codes(found) == ["prompts_unreadable", "prompt_missing", "prompt_empty", "image_and_video"]
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
        ('{"prompt": "x", "name": "../x"}', "unsafe_names", "../x"),
        ('{"prompt": "x", "name": ".x"}', "unsafe_names", ".x"),
        ('{"prompt": "x", "name": "a\\u0000b"}', "unsafe_names", "x00"),
        ('{"prompt": "x", "name": "one"}', "duplicate_names", "one"),
    ],
)
def test_a_bad_line_is_told_with_its_number_or_name(tmp_path: Path, line: str, code: str, detail: str) -> None:
    write(tmp_path / "set.jsonl", f'{{"prompt": "x", "name": "one"}}\n{line}\n')
    found = prompt_pairs.read(tmp_path / "set.jsonl")
    assert codes(found) == [code]
    assert detail in found.problems[0].message
    assert ("line 2" in found.problems[0].message) is (code not in ("unsafe_names", "duplicate_names"))


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
