from pathlib import Path

import pytest

from tao_skill_bank.data.captions import csv_tables
from tao_skill_bank.data.captions.rows import Table


def read(folder: Path, content: str | bytes, column: str = "") -> Table:
    path = folder / "metadata.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return csv_tables.read(path, column, lambda name: name.startswith("k") and name.endswith(".mp4"))


def rows(table: Table) -> list[tuple[int, str, str]]:
    return [(row.line, row.file_name, row.caption) for row in table.rows]


PLAIN = "file_name,prompt\nk0.mp4,Déplace\nk1.mp4,Push\n"
EXPECTED = [(2, "k0.mp4", "Déplace"), (3, "k1.mp4", "Push")]


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (PLAIN, ""),
        (PLAIN.replace("\n", "\r\n"), ""),
        (PLAIN.replace(",", ";"), "fields between semicolons"),
        (PLAIN.replace(",", "\t"), "fields between tabs"),
        (
            PLAIN.replace("file_name", "video_path").replace("prompt", "description"),
            "columns video_path and description",
        ),
        (PLAIN.replace("file_name", "name"), "columns name and prompt"),
        (b"\xef\xbb\xbf" + PLAIN.encode(), ""),
        (b"\xff\xfe" + PLAIN.encode("utf-16-le"), "it is UTF-16"),
        (b"\xfe\xff" + PLAIN.encode("utf-16-be"), "it is UTF-16"),
    ],
    ids=["plain", "crlf", "semicolons", "tabs", "other columns", "name", "mark", "utf-16-le", "utf-16-be"],
)
def test_the_tables_that_people_write_are_read_and_what_is_assumed_is_noted(
    tmp_path: Path, content: str | bytes, note: str
) -> None:
    table = read(tmp_path, content)
    assert rows(table) == EXPECTED
    assert [(issue.code, issue.detail) for issue in table.issues] == ([("table_assumed", note)] if note else [])


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_header_may_be_missing_where_the_first_column_names_clips(tmp_path: Path, delimiter: str) -> None:
    table = read(tmp_path, f"k0.mp4{delimiter}Lift\nk1.mp4{delimiter}Push\n")
    assert rows(table) == [(1, "k0.mp4", "Lift"), (2, "k1.mp4", "Push")]
    assert "no header" in table.issues[0].detail


@pytest.mark.parametrize("content", ["z0.mp4,Lift\n", "clip,words\nk0.mp4,Lift\n", "k0.mp4\n", ""])
def test_no_header_is_guessed_where_the_first_row_names_no_clip(tmp_path: Path, content: str) -> None:
    table = read(tmp_path, content)
    assert table.rows == ()
    assert [issue.code for issue in table.issues] == ["captions_unreadable"]
    assert "it needs the columns file_name and prompt" in table.issues[0].detail


def test_commas_without_quotes_belong_to_the_last_column(tmp_path: Path) -> None:
    table = read(
        tmp_path, 'file_name,prompt\nk0.mp4,Lift the mug, then turn it\nk1.mp4,"Push, slowly"\nk2.mp4,Open,,\n'
    )
    assert [row.caption for row in table.rows] == ["Lift the mug, then turn it", "Push, slowly", "Open"]
    assert [(issue.code, issue.item) for issue in table.issues] == [("csv_unquoted", "line 2")]


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("file_name,prompt\nk0.mp4,Lift,12.5\nk1.mp4,Push,8\n", [2, 3]),  # a column without a name
        ("prompt,file_name\nLift, then turn,k0.mp4\nPush,k1.mp4\n", [2]),  # not the last column
        ('file_name,prompt\nk0.mp4,Lift,"then"\nk1.mp4,Push\n', [2]),  # its quotes would be lost
        ("file_name,prompt\nk0.mp4\nk1.mp4,Push\n", [2]),
    ],
)
def test_a_row_that_could_be_read_in_two_ways_is_refused(tmp_path: Path, content: str, lines: list[int]) -> None:
    table = read(tmp_path, content)
    found = [(issue.code, issue.item) for issue in table.issues if issue.code != "table_assumed"]
    assert found == [("csv_row_invalid", f"line {line}") for line in lines]
    assert not {row.line for row in table.rows} & set(lines)


def test_a_quote_inside_a_field_is_refused_with_its_line_and_the_row_as_it_should_be(tmp_path: Path) -> None:
    table = read(tmp_path, 'file_name,prompt\nk0.mp4,"Pick" is what, the arm does\nk1.mp4,Push\nk2.mp4,"open\n')
    assert [(issue.code, issue.item) for issue in table.issues] == [("csv_quotes", "line 2"), ("csv_quotes", "line 4")]
    mended = table.issues[0].detail.partition("write ")[2]
    assert [row.caption for row in read(tmp_path, f"file_name,prompt\n{mended}\n").rows] == [
        '"Pick" is what, the arm does'
    ]
    assert table.issues[1].detail == "a quote that is never closed"
    assert [row.caption for row in table.rows] == ["Push"]


def test_another_encoding_is_refused_with_its_line_and_what_it_seems_to_be(tmp_path: Path) -> None:
    table = read(tmp_path, PLAIN.encode("latin-1"))
    (issue,) = table.issues
    assert (issue.code, table.rows) == ("not_utf8", ())
    assert issue.detail == "line 2 is not UTF-8: byte 0xe9; as Windows-1252 it is 'k0.mp4,Déplace'"
    assert "null bytes" in read(tmp_path, "file_name,prompt\nk0.mp4,Lift\n".encode("utf-16-le")).issues[0].detail


def test_the_caption_column_that_is_asked_for_comes_first_and_others_are_noted(tmp_path: Path) -> None:
    content = "file_name,caption,prompt\nk0.mp4,short,long\n"
    assert read(tmp_path, content).rows[0].caption == "long"
    table = read(tmp_path, content, column="Caption")
    assert table.rows[0].caption == "short"
    assert table.issues[0].detail == "captions from caption, not from prompt"


def test_a_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    table = read(tmp_path, "file_name,prompt,prompt\nk0.mp4,a,b\n")
    assert [(issue.code, issue.detail) for issue in table.issues] == [
        ("captions_unreadable", "it has several columns prompt")
    ]


def test_the_column_of_an_index_without_a_name_holds_no_captions(tmp_path: Path) -> None:
    table = read(tmp_path, ",file_name,prompt\n0,k0.mp4,Lift\n1,k1.mp4,Push\n")
    assert rows(table) == [(2, "k0.mp4", "Lift"), (3, "k1.mp4", "Push")]
    assert table.issues == ()


def test_a_caption_column_that_does_not_exist_is_noted(tmp_path: Path) -> None:
    table = read(tmp_path, PLAIN, "long text")
    assert rows(table) == EXPECTED
    assert "captions from prompt, as there is no long_text" in table.issues[0].detail


def test_a_space_before_a_quote_is_refused(tmp_path: Path) -> None:
    table = read(tmp_path, 'file_name, prompt\nk0.mp4, "Lift"\nk1.mp4, Push\n')
    assert rows(table) == [(3, "k1.mp4", " Push")]
    assert [(issue.code, issue.item) for issue in table.issues] == [("csv_quotes", "line 2")]
    assert "a space before the opening quote" in table.issues[0].detail
