"""A workflow.yaml of the public bank's DEFT becomes a run of ours, or is refused with everything that is wrong."""

import pytest

from tao_skill_bank.deft import public_file
from tao_skill_bank.errors import BlockedError, RequestError

TEXT = """
run: {name: traffic, max_iterations: 4}
kpi_dataset: {annotations_path: data/kpi.json, media_dir: data/kpi}
train_dataset: {annotations_path: data/train.json, media_dir: data/train}
cosmos_reason:
  baseline_model_path: model/base
  base_evaluate_toml: specs/evaluate.toml
  base_train_toml: specs/train.toml
  continual_model: true
mining:
  embeddings_modality: video
  embedding_parquets: {kpi: data/kpi.parquet, train: data/train.parquet}
  mine_unique_only: true
"""


@pytest.fixture
def workspace(tmp_path):
    (tmp_path / "specs").mkdir()
    (tmp_path / "model" / "base").mkdir(parents=True)
    (tmp_path / "specs" / "evaluate.toml").write_text('[vision]\nnframes = 8\n[model]\nmodel_name = "other"\n')
    (tmp_path / "specs" / "train.toml").write_text(
        '[train]\nepoch = 2\noutput_dir = "out"\n[policy]\nmodel_name_or_path = "other"\n'
        '[custom.train_dataset]\nannotation_path = "a"\n'
    )

    def write(text=TEXT):
        path = tmp_path / "specs" / "workflow.yaml"
        path.write_text(text)
        return path

    return write


def test_the_file_says_model_data_and_overrides_with_paths_of_its_workspace(workspace, tmp_path):
    wanted = public_file.read(workspace())
    assert wanted.model == str(tmp_path / "model" / "base")
    assert wanted.overrides == {
        "embed": {"embedding.kind": "vision"},
        "evaluate": {"vision.nframes": 8},
        "train": {"train.epoch": 2},
    }
    data = tmp_path / "data"
    assert wanted.inputs == {
        "kpi": {"annotation_path": str(data / "kpi.json"), "media_path": str(data / "kpi")},
        "pool": {"annotation_path": str(data / "train.json"), "media_path": str(data / "train")},
        "iterations": 4,
        "continual": True,
        "kpi_embeddings": str(data / "kpi.parquet"),
        "pool_embeddings": str(data / "train.parquet"),
    }


@pytest.mark.parametrize(("modality", "content"), [("text", "question"), ("both", "both")])
def test_the_modality_decides_what_is_embedded(workspace, modality, content):
    text = TEXT.replace("embeddings_modality: video", f"embeddings_modality: {modality}")
    assert public_file.read(workspace(text)).overrides["embed"] == {
        "embedding.kind": "joint",
        "embedding.content": content,
    }


def test_a_model_that_is_no_folder_of_the_workspace_stays_a_name(workspace):
    text = TEXT.replace("model/base", "nvidia/Cosmos-Reason2-8B")
    assert public_file.read(workspace(text)).model == "nvidia/Cosmos-Reason2-8B"


@pytest.mark.parametrize(
    ("old", "new", "code", "path"),
    [
        ("max_iterations", "max_iteration", "unknown_key", "run.max_iteration"),
        ("media_dir: data/kpi}", "other: 1}", "missing_key", "kpi_dataset.media_dir"),
        ("modality: video", "modality: sound", "invalid_value", "mining.embeddings_modality"),
        ("unique_only: true", "unique_only: false", "invalid_value", "mining.mine_unique_only"),
        ("run: {name: traffic, max_iterations: 4}", "run: 3", "invalid_value", "run"),
        ("mining:", "minning:", "unknown_key", "minning"),
    ],
)
def test_what_is_wrong_is_named_with_its_key(workspace, old, new, code, path):
    with pytest.raises(RequestError) as caught:
        public_file.read(workspace(TEXT.replace(old, new)))
    assert (code, path) in [(problem.code, problem.path) for problem in caught.value.problems]


def test_a_text_instead_of_a_file_is_refused(workspace):
    with pytest.raises(RequestError):
        public_file.read(workspace("- 1\n"))


def test_a_broken_toml_is_named(workspace, tmp_path):
    path = workspace()
    (tmp_path / "specs" / "train.toml").write_text("[train")
    with pytest.raises(BlockedError, match=r"train\.toml cannot be read"):
        public_file.read(path)
