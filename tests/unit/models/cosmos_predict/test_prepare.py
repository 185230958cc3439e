"""Sources of clips, good and bad, become the folders that training reads."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from dataset_hub import COMMIT, serving
from PIL import Image
from preflight_worlds import write_clip

from tao_skill_bank.data import clip_folders, prompt_pairs
from tao_skill_bank.errors import BlockedError, RequestError, TaoSkillsError
from tao_skill_bank.models.cosmos_predict import prepare
from tao_skill_bank.models.cosmos_predict.config import PrepareConfig
from tao_skill_bank.runs.status_log import StatusWriter
from tao_skill_bank.training.distributed import Ranks
from tao_skill_bank.training.entrypoint import Run

Prepare = Callable[..., Path]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A dataset as the Hub holds it: clips in a folder of their own, captions in a table."""
    for name in ("1", "2", "3"):
        write_clip(tmp_path / "source" / "gr1" / f"{name}.mp4", num_frames=13)
    rows = 'file name,prompt\n1.mp4,"Lift ""it"", then wait"\n2.mp4,Push it\n3.mp4,The robot moves. Turn it\n'
    (tmp_path / "source" / "metadata.csv").write_text(rows)
    return tmp_path / "source"


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    folder = tmp_path / "pairs" / "gr1_object"
    folder.mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(folder / "cup.png")
    (folder / "cup.txt").write_text("Take the cup.")
    return folder.parent


@pytest.fixture
def run(tmp_path: Path) -> Prepare:
    """Run the action; returns the folder that was written."""

    def do(source: Path, **changes: Any) -> Path:
        results = tmp_path / "results"
        results.mkdir(exist_ok=True)
        values = {"min_frames": 9, "prefix": "The robot moves. ", **changes}
        config = PrepareConfig(source=str(source), **values)
        prepare.prepare(config, Run(results, Ranks(0, 1, "cpu"), StatusWriter(results)))
        return results / "dataset"

    return do


def report(tmp_path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((tmp_path / "results" / "report.json").read_text())
    return document


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_clips_and_pairs_are_written_as_training_and_generation_read_them(
    run: Prepare, source: Path, pairs: Path
) -> None:
    before = {name: (source / name).read_bytes() for name in tree(source)}
    out = run(source, test_source=str(pairs))
    assert tree(out) == {
        "dataset.json",
        "train/metadata.csv",
        *(f"train/videos/{name}.mp4" for name in "123"),
        *(f"train/metas/{name}.txt" for name in "123"),
        "test/cup.txt",
        "test/cup.png",
    }
    found = clip_folders.read(out / "train")
    assert found.problems == ()
    captions = ['The robot moves. Lift "it", then wait', "The robot moves. Push it", "The robot moves. Turn it"]
    assert [clip.caption for clip in found.clips] == captions
    with (out / "train" / "metadata.csv").open(newline="") as file:
        assert [row["prompt"] for row in csv.DictReader(file)] == captions
    assert [prompt.prompt for prompt in prompt_pairs.read(out / "test").prompts] == ["Take the cup."]
    summary = json.loads((out / "dataset.json").read_text())
    assert (summary["train"], summary["test"], summary["dropped"]) == (3, 1, [])
    assert {name: (source / name).read_bytes() for name in tree(source)} == before


def test_the_same_sources_are_prepared_once_and_changed_ones_again(run: Prepare, source: Path) -> None:
    out = run(source)
    before = out.stat().st_ino
    assert run(source).stat().st_ino == before
    (source / "metadata.csv").write_text("file_name,prompt\n1.mp4,a\n2.mp4,b\n3.mp4,c\n")
    assert run(source).stat().st_ino != before
    assert (out / "train" / "metas" / "1.txt").read_text() == "The robot moves. a"
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(".")] == []


def test_every_clip_that_cannot_be_used_is_told_at_once(run: Prepare, source: Path, tmp_path: Path) -> None:
    write_clip(source / "gr1" / "2.mp4", num_frames=6)
    (source / "gr1" / "3.mp4").write_bytes(b"no clip")
    write_clip(source / "gr1" / "4.mp4", num_frames=13)
    with pytest.raises(BlockedError) as caught:
        run(source)
    problems = {problem.code: problem for problem in caught.value.problems}
    assert set(problems) == {"caption_missing", "clips_unreadable", "clips_too_short", "unusable_clips"}
    assert "gr1/2.mp4 (6 frames)" in problems["clips_too_short"].message
    assert "min_frames to 5 " in problems["clips_too_short"].fix
    assert "skip_unusable=true" in problems["unusable_clips"].fix
    assert {entry["item"] for entry in report(tmp_path)["dropped"]} == {"gr1/2.mp4", "gr1/3.mp4", "gr1/4.mp4"}
    assert not (tmp_path / "results" / "dataset").exists()


def test_unusable_clips_are_left_out_on_request_and_listed(run: Prepare, source: Path) -> None:
    write_clip(source / "gr1" / "2.mp4", num_frames=6)
    out = run(source, skip_unusable=True)
    assert [clip.name for clip in clip_folders.read(out / "train").clips] == ["1", "3"]
    dropped = json.loads((out / "dataset.json").read_text())["dropped"]
    assert dropped == [{"item": "gr1/2.mp4", "code": "clips_too_short", "detail": "6 frames"}]


def test_what_is_not_read_is_noted_and_stops_nothing(run: Prepare, source: Path, tmp_path: Path) -> None:
    (source / "gr1" / "4.mov").write_bytes(b"not read")
    (source / "gr1" / "5.txt").write_text("No clip.")
    out = run(source)
    assert [clip.name for clip in clip_folders.read(out / "train").clips] == ["1", "2", "3"]
    found = report(tmp_path)
    assert found["dropped"] == []
    assert {entry["code"]: entry["item"] for entry in found["notes"]} == {
        "table_assumed": "metadata.csv",
        "clips_of_other_formats": "gr1/4.mov",
        "captions_without_clip": "gr1/5.txt",
    }


def test_clips_whose_names_differ_in_case_only_are_not_written_over_each_other(run: Prepare, source: Path) -> None:
    write_clip(source / "gr1" / "a.mp4", num_frames=13)
    write_clip(source / "gr1" / "A.mp4", num_frames=17)
    with (source / "metadata.csv").open("a") as file:
        file.write("a.mp4,Lift\nA.mp4,Push\n")
    with pytest.raises(BlockedError) as caught:
        run(source)
    assert "names_ambiguous" in [problem.code for problem in caught.value.problems]
    out = run(source, skip_unusable=True)
    assert [clip.name for clip in clip_folders.read(out / "train").clips] == ["1", "2", "3"]


def test_when_all_clips_are_too_short_the_longest_window_is_named(run: Prepare, source: Path) -> None:
    with pytest.raises(BlockedError) as caught:
        run(source, min_frames=93, skip_unusable=True)
    assert [problem.code for problem in caught.value.problems] == ["clips_too_short"]
    assert "min_frames to 13 " in caught.value.problems[0].fix


def test_a_variable_rate_is_mended_in_a_copy(run: Prepare, source: Path) -> None:
    write_clip(source / "gr1" / "2.mp4", num_frames=12, fps=8, times=[0, 1, 2, 5, 6, 7, 8, 12, 13, 14, 15, 16])
    before = (source / "gr1" / "2.mp4").read_bytes()
    out = run(source)
    assert json.loads((out / "dataset.json").read_text())["retimed"] == ["2"]
    assert (out / "train" / "videos" / "2.mp4").read_bytes() != before
    assert (source / "gr1" / "2.mp4").read_bytes() == before
    assert tree(out) & {"retimed/2.mp4"} == set()


def test_a_clip_with_broken_frames_is_unreadable(run: Prepare, source: Path, tmp_path: Path) -> None:
    path = source / "gr1" / "1.mp4"
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    end = data.index(b"moov", start) - 4
    data[start + (end - start) // 3 : end] = bytes(end - start - (end - start) // 3)
    path.write_bytes(data)
    with pytest.raises(BlockedError):
        run(source)
    entry = next(entry for entry in report(tmp_path)["dropped"] if entry["item"] == "gr1/1.mp4")
    assert entry["code"] == "clips_unreadable"


def test_a_folder_that_holds_something_else_is_not_touched(run: Prepare, source: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("keep")
    with pytest.raises(BlockedError, match=r"notes\.txt"):
        run(source, output_dir=str(tmp_path / "mine"))
    assert tree(tmp_path / "mine") == {"notes.txt"}


@pytest.mark.parametrize("where", [".", "prepared", ".."])
def test_the_dataset_is_never_written_into_its_source(run: Prepare, source: Path, where: str) -> None:
    with pytest.raises(RequestError, match="must not contain each other"):
        run(source, output_dir=str(source / where))


def test_test_pairs_with_faults_stop_as_clips_do(run: Prepare, source: Path, pairs: Path) -> None:
    shutil.copy(pairs / "gr1_object" / "cup.png", pairs / "gr1_object" / "bowl.png")
    with pytest.raises(TaoSkillsError, match=r"bowl\.png"):
        run(source, test_source=str(pairs))
    assert tree(run(source, test_source=str(pairs), skip_unusable=True) / "test") == {"cup.txt", "cup.png"}
    (pairs / "gr1_object" / "cup.txt").unlink()
    with pytest.raises(BlockedError, match=r"cup\.png"):
        run(source, test_source=str(pairs), skip_unusable=True)


@pytest.mark.slow
def test_the_program_downloads_from_the_hub(source: Path, tmp_path: Path) -> None:
    config = tmp_path / "prepare.toml"
    lines = {"source": "hf_dataset://acme/robot", "results_dir": str(tmp_path / "run"), "min_frames": 9}
    config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items()))
    command = [sys.executable, "-m", "tao_skill_bank.models.cosmos_predict.prepare", "--config", str(config)]
    with serving(source) as hub:
        environment = {**os.environ, "HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "dataset" / "dataset.json").read_text())
    assert (summary["train"], summary["source"]["revision"]) == (3, COMMIT)
    states = [json.loads(line) for line in (tmp_path / "run" / "status.jsonl").read_text().splitlines()]
    assert states[-1]["state"] == "SUCCESS"
    assert any("3 of 3 clips decoded" in state["message"] for state in states)
