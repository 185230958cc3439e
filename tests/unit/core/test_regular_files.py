import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tao_skill_bank.core import archives, regular_files, yaml12
from tao_skill_bank.data import text_files
from tao_skill_bank.errors import RequestError
from tao_skill_bank.jobs.store import JobStore
from tao_skill_bank.runs import fencing, plan_versions
from tao_skill_bank.runs.run_directory import JsonLines, last_json_line, read_json_file
from tao_skill_bank.weights import adapter_files, model_folders, safetensors_files


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.fixture(params=[_pipe, _endless])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "x.json"
    request.param(path)
    return path


@pytest.mark.parametrize(
    ("read", "result"),
    [
        (read_json_file, None),
        (adapter_files.read_json, None),
        (last_json_line, {}),
        (lambda path: list(JsonLines(path)), []),
        (safetensors_files.corruption_of, "cannot be read (Is a pipe or a device, not a file)"),
        (lambda path: model_folders.is_complete(path.parent), False),
        (lambda path: [problem.code for problem in JobStore(path.parent).look()[1]], ["record_unreadable"]),
        (lambda path: fencing.holder(path.parent), {}),
    ],
)
def test_what_is_read_in_passing_is_never_waited_for(
    read: Callable[[Path], object], result: object, no_file: Path, tmp_path: Path
) -> None:
    assert read(no_file) == result


@pytest.mark.parametrize(
    "read", [regular_files.read_bytes, text_files.read, lambda path: archives.opened(path).__enter__()]
)
def test_a_pipe_and_a_device_are_no_files(read: Callable[[Path], object], no_file: Path) -> None:
    with pytest.raises(OSError, match="Is a pipe or a device, not a file"):
        read(no_file)


def test_a_plan_that_is_no_file_is_refused(no_file: Path) -> None:
    with pytest.raises(RequestError, match="Is a pipe or a device"):
        plan_versions.read_document(no_file)


def test_a_request_without_end_is_refused(tmp_path: Path) -> None:
    _endless(tmp_path / "request.yaml")
    with pytest.raises(RequestError, match="Has more than 16,777,216 bytes"):
        yaml12.read(tmp_path / "request.yaml")


def test_a_request_may_come_from_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"epoch: 3")
    os.close(writer)
    assert yaml12.read(Path(f"/dev/fd/{reader}")) == {"epoch": 3}
    os.close(reader)


def test_a_sparse_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="Has more than"):
        regular_files.read_bytes(path)
    assert read_json_file(path) is None
