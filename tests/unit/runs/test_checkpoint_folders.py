import json

from tao_skill_bank.runs import checkpoint_folders


def write(folder, step=None):
    folder.mkdir()
    if step is not None:
        (folder / "progress.json").write_text(json.dumps({"epoch": 0, "step": step}))


def test_checkpoints_are_ordered_by_their_steps_and_an_epoch_comes_after_its_interruption(tmp_path):
    for name, step in (("epoch_10", 100), ("epoch_9", 90), ("step_100", 100), ("step_95", 95), ("epoch_2", None)):
        write(tmp_path / name, step)
    found = [path.name for path in checkpoint_folders.all_in(tmp_path)]
    assert found == ["epoch_2", "epoch_9", "step_95", "step_100", "epoch_10"]
    assert checkpoint_folders.newest(tmp_path) == tmp_path / "epoch_10"


def test_without_progress_the_number_decides(tmp_path):
    for name in ("epoch_10", "epoch_9"):
        write(tmp_path / name)
    assert checkpoint_folders.newest(tmp_path) == tmp_path / "epoch_10"


def test_unfinished_and_foreign_folders_are_no_checkpoints(tmp_path):
    for name in (".epoch_3", "epoch_x", "best", "old_epoch_1"):
        write(tmp_path / name, 7)
    assert checkpoint_folders.newest(tmp_path) is None
    assert checkpoint_folders.newest(tmp_path / "nowhere") is None
