import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tao_skill_bank.cli.main import app, main

TOKEN = "hf_" + "Z9" * 10


def test_text_comes_back_without_its_credentials() -> None:
    told = CliRunner().invoke(app, ["redact"], input=f"login {TOKEN}\nnext line\n")
    assert (told.exit_code, told.stdout) == (0, "login [redacted]\nnext line\n")


def test_a_check_names_every_line_and_never_the_credential(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rendered").mkdir()
    (tmp_path / "rendered" / "launch.sh").write_text(f"set -e\nexport HF_TOKEN={TOKEN}\n", encoding="utf-8")
    (tmp_path / "rendered" / "weights.bin").write_bytes(b"\0" + TOKEN.encode())
    with pytest.raises(SystemExit) as ended:
        main(["redact", "--check", str(tmp_path), "--json"])
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (ended.value.code, [error["code"] for error in document["errors"]]) == (2, ["credential_found"])
    assert document["errors"][0]["path"] == f"{tmp_path}/rendered/launch.sh:2"
    assert TOKEN not in captured.out + captured.err


def test_a_check_of_clean_files_counts_their_lines(tmp_path: Path) -> None:
    (tmp_path / "launch.sh").write_text("docker run --env HF_TOKEN image\n", encoding="utf-8")
    told = CliRunner().invoke(app, ["redact", "--check", str(tmp_path)])
    assert (told.exit_code, told.stdout) == (0, "1 lines hold no credential.\n")


@pytest.mark.parametrize("content", [b"\0" + TOKEN.encode(), TOKEN.encode("utf-16")])
def test_a_named_file_that_is_no_text_is_not_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "weights").write_bytes(content)
    with pytest.raises(SystemExit) as ended:
        main(["redact", "--check", str(tmp_path / "weights")])
    assert ended.value.code == 3
    assert "weights was not read: it is not UTF-8." in capsys.readouterr().err


def test_what_cannot_be_read_in_a_folder_is_named_and_the_rest_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "log").write_text(f"{TOKEN}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["redact", "--check", str(tmp_path)])
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "pipe was not read: it is not a regular file." in told
    assert "log:1 holds what looks like a credential." in told


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["redact", str(tmp_path / "nothing")])
    assert ended.value.code == 5
    assert "does not exist" in capsys.readouterr().err
