import tomllib

import pytest

from tao_skill_bank.core import yaml12
from tao_skill_bank.spec import config_files

CONFIG = {"results_dir": "/a run", "train": {"resume": True, "epoch": 3, "lr": 1e-5}}


@pytest.mark.parametrize(
    ("name", "read"), [("train.toml", tomllib.loads), ("train.yaml", lambda text: yaml12.parse(text, "the test"))]
)
def test_a_config_is_read_back_from_the_format_that_its_name_tells(name, read):
    assert read(config_files.text(name, CONFIG)) == CONFIG
