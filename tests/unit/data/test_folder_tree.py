import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pytest

from tao_skill_bank.data import folder_tree


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def names(paths: Sequence[PurePosixPath]) -> list[str]:
    return [str(path) for path in paths]


def test_files_are_listed_at_any_depth_but_hidden_ones(tmp_path: Path) -> None:
    for name in ("b", "a/c/d", ".hidden", ".folder/e", "a/._b"):
        write(tmp_path / name)
    (tmp_path / "broken").symlink_to("nowhere")
    assert names(folder_tree.walk(tmp_path).files) == ["a/c/d", "b", "broken"]
    assert folder_tree.walk(tmp_path / "nowhere").files == []


def test_a_linked_folder_is_read_once_and_no_loop_is_entered(tmp_path: Path) -> None:
    write(tmp_path / "out" / "x")
    write(tmp_path / "in" / "sub" / "y")
    write(tmp_path / "in" / ".store" / "z")
    for name, target in {
        "one": "../out",
        "two": "../out",
        "loop": ".",
        "up": "..",
        "inner": "sub",
        "kept": ".store",
    }.items():
        (tmp_path / "in" / name).symlink_to(target)
    (tmp_path / "out" / "back").symlink_to("../in")
    tree = folder_tree.walk(tmp_path / "in")
    assert names(tree.files) == ["kept/z", "one/x", "sub/y"]
    assert names(tree.followed) == ["kept", "one"]
    assert names(tree.skipped) == ["inner", "loop", "one/back", "two", "up"]


def test_links_are_followed_on_request_only(tmp_path: Path) -> None:
    write(tmp_path / "out" / "x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one").symlink_to("../out")
    tree = folder_tree.walk(tmp_path / "in", lambda _: False)
    assert (tree.files, names(tree.skipped)) == ([], ["one"])


def test_names_that_are_not_text_are_kept_apart(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"a\xff.mp4")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    tree = folder_tree.walk(tmp_path)
    assert (tree.files, tree.undecodable) == ([], ["a\\xff.mp4"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root lists every folder")
def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path) -> None:
    write(tmp_path / "closed" / "a")
    (tmp_path / "closed").chmod(0)
    assert names([path for path, _ in folder_tree.walk(tmp_path).unlisted]) == ["closed"]
    (tmp_path / "closed").chmod(0o755)
