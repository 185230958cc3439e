import json
from pathlib import Path

import pytest

from tao_skill_bank.data import clip_folders
from tao_skill_bank.data.clip_folders import ClipFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of three clips; their content does not matter here."""
    (tmp_path / "videos").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(b"")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="")


def captions(found: ClipFolder) -> list[str | None]:
    return [clip.caption for clip in found.clips]


def issues(found: ClipFolder) -> list[tuple[str, str]]:
    return [(issue.code, issue.item) for issue in found.issues]


def test_each_clip_takes_the_first_caption_that_it_has(folder: Path) -> None:
    write(folder / "metas" / "a.txt", " one \n")
    write(folder / "captions" / "a.json", '"never read"')
    write(folder / "captions" / "b.json", '{"prompt": "two"}')
    write(folder / "metadata.csv", 'file name,prompt\r\nb.mp4,never read\r\nc.mp4,"three, ""3""\nand more"\r\n')
    found = clip_folders.read(folder)
    assert captions(found) == ["one", "two", 'three, "3"\nand more']
    assert [clip.caption_source for clip in found.clips] == ["metas/a.txt", "captions/b.json", "metadata.csv"]
    assert found.problems == ()


def test_clips_and_captions_may_lie_side_by_side(tmp_path: Path) -> None:
    write(tmp_path / "b.MP4", "")
    write(tmp_path / "a.mp4", "")
    write(tmp_path / "._a.mp4", "")  # macOS leaves such files
    write(tmp_path / "a.txt", "\ufeffone")
    write(tmp_path / "b.txt", "two")
    found = clip_folders.read(tmp_path)
    assert [(clip.name, clip.caption) for clip in found.clips] == [("a", "one"), ("b", "two")]
    assert found.problems == ()


@pytest.mark.parametrize("columns", ["file_name,prompt", "File Name,Caption", "video,text", "\ufefffilename,PROMPT"])
@pytest.mark.parametrize("name", ["{}.mp4", "videos/{}.mp4", "{}", "elsewhere\\{}.mp4"])
def test_the_csv_table_is_read_under_its_usual_names(folder: Path, columns: str, name: str) -> None:
    rows = "".join(f"{name.format(clip)},caption {clip}\n" for clip in "abc")
    write(folder / "metadata.csv", f"{columns}\n{rows}\n")
    assert captions(clip_folders.read(folder)) == ["caption a", "caption b", "caption c"]


def test_a_named_source_and_key_are_the_only_ones_looked_at(folder: Path) -> None:
    for name in "abc":
        write(folder / "metas" / f"{name}.txt", "never read")
    write(folder / "metadata.csv", "file_name,prompt,action\na.mp4,x,lift\nb.mp4,x,push\nc.mp4,x,turn\n")
    found = clip_folders.read(folder, captions="csv", key="action")
    assert captions(found) == ["lift", "push", "turn"]


@pytest.mark.parametrize(
    "value",
    [
        "lift",
        {"prompt": "lift"},
        {"caption": {"long": "lift", "short": "x"}},
        {"captioner-7b": {"short": "x", "long": "lift"}},
        {"caption": {"text": "lift"}, "fps": 4},
    ],
)
def test_a_json_caption_may_be_wrapped(value: object) -> None:
    assert clip_folders.caption_in(value) == "lift"


@pytest.mark.parametrize("value", [3, [], {}, {"a": "x", "b": "y"}, {"prompt": None}])
def test_a_json_value_without_a_caption_says_so(folder: Path, value: object) -> None:
    write(folder / "captions" / "a.json", json.dumps(value))
    assert ("captions_unreadable", "captions/a.json") in issues(clip_folders.read(folder))


def test_every_fault_of_a_folder_is_found_in_one_pass(folder: Path) -> None:
    write(folder / "videos" / "a.MP4", "")
    write(folder / "metas" / "a.txt", " \n")
    write(folder / "captions" / "b.json", "{")
    write(folder / "metadata.csv", "file_name,prompt\nb.mp4,x\nb.mp4,again\nz.mp4,gone\nc.mp4,un,quoted\n,nameless\n")
    found = clip_folders.read(folder)
    assert [problem.code for problem in found.problems] == [
        "duplicate_names",
        "captions_unreadable",
        "csv_row_invalid",
        "csv_file_missing",
        "csv_duplicate_rows",
        "caption_missing",
        "caption_empty",
    ]
    by_code = {problem.code: problem for problem in found.problems}
    assert by_code["duplicate_names"].got == ["videos/a.MP4", "videos/a.mp4"]
    assert by_code["csv_row_invalid"].got == ["metadata.csv line 5", "metadata.csv line 6"]
    assert "line 4 (z.mp4)" in by_code["csv_file_missing"].message
    assert by_code["caption_missing"].got == ["videos/c.mp4"]
    assert all(problem.fix and problem.path == str(folder) for problem in found.problems)
    assert [clip.name for clip in found.captioned] == ["b"]


def test_a_broken_table_is_told_once_and_not_by_every_clip(folder: Path) -> None:
    write(folder / "metadata.csv", 'file_name,prompt\na.mp4,"never closed\n')
    assert [problem.code for problem in clip_folders.read(folder).problems] == ["captions_unreadable"]
    (folder / "metadata.csv").write_bytes(b"file_name,prompt\na.mp4,\xff\n")
    assert "not UTF-8" in clip_folders.read(folder).problems[0].message
    write(folder / "metadata.csv", "name;words\na.mp4;x\n")
    assert "it needs the columns file_name and prompt" in clip_folders.read(folder).problems[0].message


def test_a_folder_without_clips_says_what_is_there_instead(tmp_path: Path) -> None:
    assert "does not exist" in clip_folders.read(tmp_path / "nowhere").problems[0].message
    assert "it is empty" in clip_folders.read(tmp_path).problems[0].message
    write(tmp_path / "a.mov", "")
    problem = clip_folders.read(tmp_path).problems[0]
    assert (problem.code, ".mov files" in problem.message) == ("clips_missing", True)


def test_a_nested_folder_is_searched_for_the_names_of_its_table(tmp_path: Path) -> None:
    for name in ("gr1/1.mp4", "gr1/2.mp4", ".cache/3.mp4"):
        write(tmp_path / name, "")
    write(tmp_path / "metadata.csv", 'file name,prompt\n1.mp4,"one, 1"\ngr1/2.mp4,two\n')
    found = clip_folders.read(tmp_path, nested=True)
    assert captions(found) == ["one, 1", "two"]
    assert found.problems == ()
    assert clip_folders.read(tmp_path).problems[0].code == "clips_missing"
