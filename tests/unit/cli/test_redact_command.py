import json
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


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["redact", str(tmp_path / "nothing")])
    assert ended.value.code == 5
    assert "There is no file" in capsys.readouterr().err
