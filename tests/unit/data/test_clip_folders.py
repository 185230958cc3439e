import json
import re
import tempfile
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tao_skill_bank.data import clip_folders
from tao_skill_bank.data.clip_folders import ClipFolder
from tao_skill_bank.data.clip_issues import TABLES


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
@pytest.mark.parametrize("name", ["{}.mp4", "videos/{}.mp4", "{}", "videos\\{}.mp4", "./{}.MP4"])
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
def test_a_json_caption_may_be_wrapped(folder: Path, value: object) -> None:
    write(folder / "captions" / "a.json", json.dumps(value))
    assert captions(clip_folders.read(folder))[0] == "lift"


@pytest.mark.parametrize("value", [3, [], {}, {"a": "x", "b": "y"}, {"prompt": None}])
def test_a_json_value_without_a_caption_says_so(folder: Path, value: object) -> None:
    write(folder / "captions" / "a.json", json.dumps(value))
    assert ("captions_unreadable", "captions/a.json") in issues(clip_folders.read(folder))


def test_every_fault_of_a_folder_is_found_in_one_pass(folder: Path) -> None:
    write(folder / "videos" / "a.MP4", "")
    write(folder / "metas" / "a.txt", " \n")
    write(folder / "captions" / "b.json", "{")
    write(folder / "metadata.csv", "file_name,prompt\nb.mp4,x\nb.mp4,again\nz.mp4,gone\nc.mp4\n,nameless\n")
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


@pytest.mark.parametrize(
    ("table", "code", "reason"),
    [
        (
            b'file_name,prompt\na.mp4,"never closed\n',
            "csv_quotes",
            "metadata.csv line 2 (a quote that is never closed)",
        ),
        (b"file_name,prompt\na.mp4,\xff\n", "not_utf8", "line 2 is not UTF-8: byte 0xff"),
        (b"words,more\na.mp4,x\n", "captions_unreadable", "it needs the columns file_name and prompt"),
    ],
)
def test_a_broken_table_is_one_problem_and_not_one_of_every_clip(
    folder: Path, table: bytes, code: str, reason: str
) -> None:
    (folder / "metadata.csv").write_bytes(table)
    (problem,) = clip_folders.read(folder).problems
    assert (problem.code, reason in problem.message) == (code, True)


def test_a_folder_without_clips_says_what_is_there_instead(tmp_path: Path) -> None:
    assert "does not exist" in clip_folders.read(tmp_path / "nowhere").problems[0].message
    assert "it is empty" in clip_folders.read(tmp_path).problems[0].message
    write(tmp_path / "a.mov", "")
    problem = clip_folders.read(tmp_path).problems[0]
    assert (problem.code, ".mov files" in problem.message) == ("clips_missing", True)


def test_a_nested_folder_is_searched_and_the_only_folder_of_clips_needs_no_name_in_the_table(tmp_path: Path) -> None:
    for name in ("gr1/1.mp4", "gr1/2.mp4", ".cache/3.mp4"):
        write(tmp_path / name, "")
    write(tmp_path / "metadata.csv", 'file name,prompt\n1.mp4,"one, 1"\ngr1/2.mp4,two\n')
    found = clip_folders.read(tmp_path, nested=True)
    assert captions(found) == ["one, 1", "two"]
    assert issues(found) == [("table_assumed", "metadata.csv")]
    flat = clip_folders.read(tmp_path)
    assert flat.problems[0].code == "clips_missing"
    assert ("clips_in_other_folders", "gr1/1.mp4") in issues(flat)


PLACES = {
    "flat": ("a.mp4", "metas/a.txt"),
    "captions": ("a.mp4", "captions/a.json"),
    "next to": ("x/y/a.mp4", "x/y/a.txt"),
    "videos": ("s/videos/a.mp4", "s/metas/a.txt"),
    "videos, deeper": ("s/videos/day/a.mp4", "s/metas/day/a.txt"),
    "same path": ("day/a.mp4", "metas/day/a.txt"),
    "dots": ("videos/a.v1.mp4", "metas/a.v1.txt"),
    "endings": ("videos/a.MP4", "metas/a.TXT"),
    "only folder": ("clips/a.mp4", "captions/a.txt"),
}


@pytest.mark.parametrize(("video", "caption"), PLACES.values(), ids=PLACES)
def test_a_caption_lies_at_the_clips_own_path(tmp_path: Path, video: str, caption: str) -> None:
    write(tmp_path / video, "")
    write(tmp_path / caption, '"Lift it."' if caption.endswith("json") else "Lift it.")
    found = clip_folders.read(tmp_path, nested=True)
    assert [(clip.caption, clip.caption_source) for clip in found.clips] == [("Lift it.", caption)]
    assert found.issues == ()


def test_two_datasets_keep_their_own_captions_of_equal_names(tmp_path: Path) -> None:
    for dataset in ("one", "two"):
        write(tmp_path / dataset / "videos" / "0.mp4", "")
        write(tmp_path / dataset / "metas" / "0.txt", f"of {dataset}")
    found = clip_folders.read(tmp_path, nested=True)
    assert [(str(clip.video.relative_to(tmp_path)), clip.caption) for clip in found.clips] == [
        ("one/videos/0.mp4", "of one"),
        ("two/videos/0.mp4", "of two"),
    ]
    assert [problem.code for problem in found.problems] == ["duplicate_names"]


CAFE_COMPOSED, CAFE_DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("files", "code", "item", "detail"),
    [
        (["a.mp4", "b.mp4", "b.txt", "old/a.txt"], "caption_elsewhere", "a.mp4", "there is old/a.txt"),
        (
            ["videos/Ep0.mp4", "metas/ep0.txt"],
            "caption_name_differs",
            "videos/Ep0.mp4",
            "metas/ep0.txt differs in upper",
        ),
        (
            [f"{CAFE_DECOMPOSED}.mp4", f"{CAFE_COMPOSED}.txt"],
            "caption_name_differs",
            f"{CAFE_DECOMPOSED}.mp4",
            "differs in its Unicode form",
        ),
        (["a.mp4", "metas/a.txt", "metas/A.txt"], "names_ambiguous", "metas/a.txt", "metas/A.txt, metas/a.txt"),
        (["a.mp4", "a.txt", "A.mp4", "A.txt"], "names_ambiguous", "A.mp4", ""),
    ],
)
def test_a_caption_that_only_comes_near_is_named_and_never_used(
    tmp_path: Path, files: list[str], code: str, item: str, detail: str
) -> None:
    for file in files:
        write(tmp_path / file, "Lift it.")
    found = clip_folders.read(tmp_path, nested=True)
    assert code in [problem.code for problem in found.problems]
    (issue,) = [issue for issue in found.issues if issue.code == code and issue.item == item]
    assert detail in issue.detail
    assert not [clip for clip in found.captioned if str(clip.video.relative_to(tmp_path)) == item and detail]
    assert "caption_missing" not in [problem.code for problem in found.problems]


@pytest.mark.parametrize(
    ("row", "code", "detail"),
    [
        ("elsewhere/a.mp4", "csv_clip_elsewhere", "there is videos/a.mp4"),
        ("A.mp4", "csv_name_differs", "videos/a.mp4 differs in upper and lower case"),
        ("/old/disk/a.mp4", "csv_clip_elsewhere", "there is videos/a.mp4"),
        ("C:\\clips\\a.mp4", "csv_clip_elsewhere", "there is videos/a.mp4"),
        ("z.mp4", "csv_file_missing", "z.mp4"),
    ],
)
def test_a_row_that_names_no_clip_is_one_problem_with_the_clip_that_comes_near(
    folder: Path, row: str, code: str, detail: str
) -> None:
    write(folder / "metadata.csv", f"file_name,prompt\n{row},Lift\nb.mp4,Push\nc.mp4,Turn\n")
    found = clip_folders.read(folder)
    problems = {problem.code: problem for problem in found.problems}
    assert detail in problems[code].message
    assert problems[code].got == ["metadata.csv line 2"]
    assert ("caption_missing" in problems) is (row == "z.mp4")
    assert captions(found) == [None, "Push", "Turn"]


def test_an_absolute_path_into_the_folder_names_its_clip(folder: Path) -> None:
    rows = "".join(f"{folder}/videos/{name}.mp4,caption {name}\n" for name in "abc")
    write(folder / "metadata.csv", f"file_name,prompt\n{rows}")
    assert captions(clip_folders.read(folder)) == ["caption a", "caption b", "caption c"]


def test_a_table_of_json_lines_is_read_like_the_other_and_both_must_agree(folder: Path) -> None:
    lines = [json.dumps({"file_name": f"videos/{name}.mp4", "text": f"caption {name}"}) for name in "abc"]
    write(folder / "metadata.jsonl", "\n".join(lines))
    assert captions(clip_folders.read(folder)) == ["caption a", "caption b", "caption c"]
    write(folder / "metadata.csv", "file_name,prompt\na.mp4,caption a\nb.mp4,other\n")
    assert issues(clip_folders.read(folder)) == [("csv_duplicate_rows", "metadata.jsonl line 2")]


def test_what_is_left_out_is_named_with_a_warning(folder: Path) -> None:
    write(folder / "metas" / "a.txt", "one")
    write(folder / "metadata.csv", "file_name,prompt\nb.mp4,two\nc.mp4,three\n")
    for name in ("videos/d.mov", "metas/d.txt", "d.mp4", "videos/day/e.mp4", "captions/a.json", "captions.csv", "x.md"):
        write(folder / name, '"text"')
    found = clip_folders.read(folder)
    assert (found.problems, captions(found)) == ((), ["one", "two", "three"])
    by_code = {finding.code: (finding.severity, finding.evidence["items"]) for finding in found.findings}
    assert by_code == {
        "clips_in_other_folders": ("warning", ["d.mp4", "videos/day/e.mp4"]),
        "clips_of_other_formats": ("warning", ["videos/d.mov"]),
        "captions_without_clip": ("warning", ["metas/d.txt"]),
        "tables_not_read": ("warning", ["captions.csv"]),
        "captions_not_needed": ("info", ["captions/a.json"]),
        "files_not_read": ("info", ["x.md"]),
    }
    assert all(finding.fix for finding in found.findings if finding.severity == "warning")


def test_clips_in_folders_of_their_own_are_left_out_while_their_captions_lie_in_one(folder: Path) -> None:
    for name in ("a", "b", "c", "m"):
        write(folder / "metas" / f"{name}.txt", f"caption {name}")
    write(folder / "videos" / "day2" / "m.mp4", "")
    found = clip_folders.read(folder, nested=True)
    assert captions(found) == ["caption a", "caption b", "caption c"]
    assert issues(found) == [("clips_deeper_than_captions", "videos/day2/m.mp4")]
    write(folder / "metas" / "day2" / "m.txt", "its own")
    found = clip_folders.read(folder, nested=True)
    assert captions(found)[-1] == "its own"
    assert issues(found) == [("captions_without_clip", "metas/m.txt")]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere" / "a0.mp4", "")
    write(tmp_path / "elsewhere" / "a0.txt", "kitchen")
    root = tmp_path / "root"
    write(root / "b.mp4", "")
    write(root / "b.txt", "own")
    (root / "kitchen").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(root)
    found = clip_folders.read(root, nested=True)
    assert captions(found) == ["kitchen", "own"]
    assert issues(found) == [("folders_linked", "kitchen"), ("links_skipped", "again")]
    assert issues(clip_folders.read(root)) == [("links_skipped", "again"), ("links_skipped", "kitchen")]


def test_a_linked_folder_of_the_layout_is_read_as_one(tmp_path: Path) -> None:
    write(tmp_path / "storage" / "a.mp4", "")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "videos").symlink_to(tmp_path / "storage")
    write(tmp_path / "data" / "metas" / "a.txt", "Lift it.")
    found = clip_folders.read(tmp_path / "data")
    assert (captions(found), found.issues) == (["Lift it."], ())


NAMES = st.sampled_from(["a", "A", "b", "caf\u00e9", "cafe\u0301", "metadata", "readme", ".hidden"])
SUFFIXES = st.sampled_from([".mp4", ".MP4", ".mov", ".txt", ".json", ".csv", ".jsonl", ".png", ""])
PARENTS = st.lists(st.sampled_from(["videos", "metas", "captions", "day", ".cache", "images"]), max_size=3)
FILES = st.tuples(PARENTS, NAMES, SUFFIXES).map(lambda parts: "/".join([*parts[0], parts[1] + parts[2]]))
CONTENTS = st.sampled_from(["", "Lift it.", '"Lift it."', "file_name,prompt\na.mp4,Lift it.\n", '{"file_name": "a"}'])


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(files=st.dictionaries(FILES, CONTENTS, max_size=10), nested=st.booleans())
def test_every_file_is_used_or_named(files: dict[str, str], nested: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, content in files.items():
            if not any(other.startswith(f"{name}/") for other in files):
                write(root / name, content)
        present = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        visible = {name for name in present if not any(part.startswith(".") for part in name.split("/"))}
        found = clip_folders.read(root, nested=nested)
    used = {clip.video.relative_to(root).as_posix() for clip in found.clips}
    used |= {clip.caption_source for clip in found.clips}
    named = {word for issue in found.issues for word in re.split(r"[ ,:]+", f"{issue.item} {issue.detail}")}
    looked_up = {  # tables give captions to the clips that have no other
        name
        for name in visible
        if PurePosixPath(name).name in TABLES and (nested or PurePosixPath(name).parent in clip_folders.FOLDERS)
    }
    assert visible - used - named - (looked_up if found.clips else set()) == set()
    assert used - {""} <= visible
