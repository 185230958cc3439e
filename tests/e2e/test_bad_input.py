"""Bad input ends with one clear error; nothing is written, nothing is launched."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TINY = (
    *("--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason"),
    *("--set", "train.train_batch_per_replica=4", "--set", "train.epoch=1"),
)
Call = Callable[..., tuple[int, dict[str, Any]]]


def records(data: Path) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads((data / "train" / "annotations.json").read_text())
    return loaded


def write(data: Path, content: str | bytes | list[Any] | dict[str, Any]) -> None:
    path = data / "train" / "annotations.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))


def not_json(data: Path) -> None:
    write(data, "id,video\n1,a.mp4\n")


def empty(data: Path) -> None:
    write(data, "")


def no_records(data: Path) -> None:
    write(data, [])


def a_dict(data: Path) -> None:
    write(data, {"id": "1"})


def byte_order_mark(data: Path) -> None:
    write(data, b"\xef\xbb\xbf" + json.dumps(records(data)).encode())


def not_a_number(data: Path) -> None:
    found = records(data)
    found[0]["video_fps"] = float("nan")
    write(data, found)


def duplicate_ids(data: Path) -> None:
    found = records(data)
    found[3]["id"] = found[0]["id"]
    write(data, found)


def media_outside_the_root(data: Path) -> None:
    found = records(data)
    found[2]["video"] = "../val/" + found[2]["video"]
    write(data, found)


def missing_media(data: Path) -> None:
    found = records(data)
    found[1]["video"] = "videos/absent.mp4"
    write(data, found)


def no_video_fps(data: Path) -> None:
    found = records(data)
    del found[5]["video_fps"]
    write(data, found)


def unreadable_videos(data: Path) -> None:
    for path in (data / "train" / "videos").iterdir():
        path.write_bytes(b"this is no video" * 100)


def empty_videos(data: Path) -> None:
    for path in (data / "train" / "videos").iterdir():
        path.write_bytes(b"")


@pytest.mark.parametrize(
    ("breakage", "code", "words"),
    [
        (not_json, "annotation_unreadable", "it is neither a list nor an object with a list"),
        (empty, "annotation_unreadable", "is empty"),
        (no_records, "annotation_empty", "holds no records"),
        (a_dict, "annotation_unreadable", "it is neither a list"),
        (byte_order_mark, "annotation_unreadable", "byte order mark"),
        (not_a_number, "annotation_unreadable", "item 0: NaN is not JSON"),
        (duplicate_ids, "duplicate_ids", "repeat an earlier id: train-00000"),
        (media_outside_the_root, "media_outside_root", "../val/videos"),
        (missing_media, "media_missing", "videos/absent.mp4 (record 1)"),
        (no_video_fps, "video_fps_missing", "1 of 12 records"),
        (unreadable_videos, "media_unreadable", "train-00000.mp4 (record 0): it is text, not a video"),
        (empty_videos, "media_unreadable", "train-00000.mp4 (record 0): it is empty"),
    ],
)
def test_bad_data_blocks_a_run_before_anything_is_written(
    data: Path,
    command_line: Call,
    state_dir: Path,
    breakage: Callable[[Path], None],
    code: str,
    words: str,
) -> None:
    breakage(data)
    results = data.parent / "results"
    arguments = ("--train", data / "train", "--eval", data / "val", "--results-dir", results, "--automl-policy", "off")
    exit_code, document = command_line("run", "tao-finetune-cosmos-reason", "train", *TINY, *arguments)
    assert exit_code == 3
    messages = [error["message"] for error in document["errors"] if error["code"] == code]
    assert any(words in message for message in messages), document["errors"]
    assert all(error["fix"] for error in document["errors"])
    assert not results.exists()
    assert not (state_dir / "jobs").exists()


@pytest.mark.parametrize("member", ["absolute", "link", "parent"])
def test_an_unsafe_archive_is_refused(data: Path, command_line: Call, state_dir: Path, member: str) -> None:
    archive = data / "videos.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(data / "train" / "videos", "videos")
        entry = tarfile.TarInfo(
            {"absolute": "/etc/evil.mp4", "link": "videos/link.mp4", "parent": "../evil.mp4"}[member]
        )
        if member == "link":
            entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry, io.BytesIO(b""))
    direct = [
        "--set",
        f"custom.train_dataset.annotation_path={data / 'train' / 'annotations.json'}",
        "--set",
        f"custom.train_dataset.media_path={archive}",
    ]
    exit_code, document = command_line(
        "run", "tao-finetune-cosmos-reason", "train", *TINY, *direct, "--eval", data / "val", "--say", "no HPO"
    )
    assert exit_code == 3
    assert [error["code"] for error in document["errors"]] == ["archive_unsafe"]
    assert {"absolute": "/etc/evil.mp4", "link": "videos/link.mp4", "parent": "../evil.mp4"}[member] in document[
        "errors"
    ][0]["message"]
    assert not (state_dir / "jobs").exists()


def test_a_results_folder_that_cannot_be_made_blocks(data: Path, command_line: Call, state_dir: Path) -> None:
    (data / "file").write_text("in the way")
    arguments = ("--train", data / "train", "--eval", data / "val", "--results-dir", data / "file" / "run")
    exit_code, document = command_line(
        "run", "tao-finetune-cosmos-reason", "train", *TINY, *arguments, "--automl-policy", "off"
    )
    assert exit_code == 3
    assert [error["code"] for error in document["errors"]] == ["results_dir_unwritable"]
    assert f"{data / 'file'} is a file" in document["errors"][0]["message"]
    assert not (state_dir / "jobs").exists()


def test_a_checkpoint_that_does_not_exist_exits_5(data: Path, command_line: Call) -> None:
    exit_code, document = command_line(
        *("plan", "tao-finetune-cosmos-reason", "evaluate", "--eval", data / "test", "--option", "device=cpu"),
        *("--set", f"model.model_name={data / 'absent'}"),
    )
    assert (exit_code, document["errors"][0]["code"]) == (5, "checkpoint_missing")


def test_an_adapter_of_another_base_is_refused(data: Path, command_line: Call) -> None:
    adapter = data / "adapter"
    adapter.mkdir()
    config = {"base_model_name_or_path": "nvidia/Cosmos-Reason2-8B", "peft_type": "LORA", "r": 8}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapter_model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    exit_code, document = command_line(
        *("plan", "tao-finetune-cosmos-reason", "evaluate", "--eval", data / "test", "--option", "device=cpu"),
        *("--set", f"model.model_name={adapter}", "--set", "model.enable_lora=true"),
        *("--set", "model.base_model_path=builtin://tiny-cosmos-reason"),
    )
    assert (exit_code, [error["code"] for error in document["errors"]]) == (3, ["adapter_of_another_base"])
    assert "made for another base: nvidia/Cosmos-Reason2-8B" in document["errors"][0]["message"]


def test_only_a_missing_token_exits_4(data: Path, command_line: Call) -> None:
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}
    exit_code, document = command_line(
        *("plan", "tao-finetune-cosmos-reason", "train", "--train", data / "train", "--eval", data / "val"),
        *("--set", "train.train_batch_per_replica=4", "--set", "policy.model_name_or_path=nvidia/Cosmos-Reason2-8B"),
        environment=environment,
    )
    assert (exit_code, [error["code"] for error in document["errors"]]) == (4, ["credential_missing"])
    assert "HF_TOKEN" in document["errors"][0]["message"]


def test_quantize_without_calibration_data_is_one_error_of_the_plan(command_line: Call) -> None:
    words = ("tao-finetune-cosmos-reason", "quantize", "--set", "model.model_path=builtin://tiny-cosmos-reason")
    exit_code, document = command_line("plan", *words)
    assert (exit_code, len(document["errors"])) == (2, 1)
    assert "calibration" in document["errors"][0]["message"]
    assert "--dataset calibration=" in document["errors"][0]["fix"]


def test_quantize_is_blocked_by_a_length_below_the_clips_tokens(data: Path, command_line: Call) -> None:
    words = ("tao-finetune-cosmos-reason", "quantize", "--dataset", f"calibration={data / 'train'}")
    words = (
        *words,
        "--set",
        "model.model_path=builtin://tiny-cosmos-reason",
        "--set",
        "quantize.max_sequence_length=20",
    )
    exit_code, document = command_line("plan", *words)
    assert (exit_code, [error["code"] for error in document["errors"]]) == (3, ["tokens_over_limit"])
    assert "accepts 20" in document["errors"][0]["message"]


def test_the_original_annotations_are_never_edited(data: Path, command_line: Call) -> None:
    no_video_fps(data)
    source, target = data / "train" / "annotations.json", data / "train" / "fixed.json"
    before = source.read_bytes()
    assert command_line("data", "fix-video-fps", source, target)[0] == 0
    assert source.read_bytes() == before
    assert all(record["video_fps"] == 4.0 for record in json.loads(target.read_text()))
    assert command_line("data", "fix-video-fps", source, source)[0] != 0
    assert source.read_bytes() == before


def test_a_folder_of_something_else_is_not_overwritten_by_sample_data(data: Path, command_line: Call) -> None:
    precious = data / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    exit_code, _ = command_line("data", "sample", "vlm", precious)
    assert exit_code != 0
    assert (precious / "thesis.txt").read_text() == "years of work"
    shutil.rmtree(precious)
