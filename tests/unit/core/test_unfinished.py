"""What a killed process left unfinished is removed by the next one; what lives and what is not ours stays."""

import os
import time

import pytest

from tao_skill_bank.core import unfinished

DEAD = 2**22 + 1  # above every process id


@pytest.fixture(autouse=True)
def _not_cleaned_yet(monkeypatch):
    monkeypatch.setattr(unfinished, "_cleaned", set())


def make(path, kind):
    if kind == "folder":
        (path / "inner").mkdir(parents=True)
        (path / "inner" / "file").touch()
    elif kind == "link":
        path.symlink_to("nowhere")
    else:
        path.touch()


def name(target="model", machine=None, pid=DEAD, ending=""):
    return f".{target}.{machine or unfinished._machine()}.{pid}.0.tmp{ending}"


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
@pytest.mark.parametrize("ending", ["", ".mp4"])
def test_what_a_dead_process_left_goes_with_the_next_use_of_its_folder(tmp_path, kind, ending):
    make(tmp_path / name(ending=ending), kind)
    work = unfinished.next_to(tmp_path / "other")
    assert work.parent == tmp_path
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "kept",
    [
        name(pid=os.getpid()),
        name(pid=1),
        name(machine="0badcafe"),
        ".model.part",
        ".a.tmp",
        "model.tmp",
        ".writer.lock",
        f"model.{DEAD}.0.tmp",
    ],
    ids=["live", "init", "machine", "part", "short", "shown", "lock", "other"],
)
def test_a_live_process_another_machine_and_other_files_are_left_alone(tmp_path, kept):
    (tmp_path / kept).touch()
    unfinished.next_to(tmp_path / "other")
    assert (tmp_path / kept).exists()


def test_what_another_machine_left_goes_after_a_day(tmp_path):
    old = tmp_path / name(machine="0badcafe")
    old.touch()
    then = time.time() - 2 * unfinished.FORGOTTEN_SECONDS
    os.utime(old, (then, then))
    unfinished.next_to(tmp_path / "other")
    assert not old.exists()


def test_names_are_hidden_and_never_the_same(tmp_path):
    names = {unfinished.next_to(tmp_path / "a.json", ".mp4").name for _ in range(3)}
    assert len(names) == 3
    assert all(found.startswith(".a.json.") and found.endswith(".mp4") for found in names)


def test_a_folder_that_does_not_exist_yet_is_no_obstacle(tmp_path):
    assert unfinished.next_to(tmp_path / "absent" / "a").parent == tmp_path / "absent"
