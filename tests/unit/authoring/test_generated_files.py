import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--check"]])
def test_a_skill_that_cannot_be_read_is_named_by_the_script(
    tmp_path: Path, project_root: Path, flags: list[str]
) -> None:
    skill = "tao-finetune-cosmos-predict"
    shutil.copytree(project_root / "skills" / skill, tmp_path / "skills" / skill)
    info = tmp_path / "skills" / skill / "references" / "skill_info.yaml"
    info.write_text(info.read_text().replace("direction: minimize", "direction: down"))
    script = project_root / "scripts" / "generate_dataclass_schemas.py"
    environment = {**os.environ, "TAO_SKILL_BANK_PATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(script), *flags], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {info}: monitoring_metric.direction")
    assert "fix: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "schemas").exists()
