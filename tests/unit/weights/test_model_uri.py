from pathlib import Path

import pytest

from tao_skill_bank.core import settings
from tao_skill_bank.weights import model_uri


@pytest.mark.parametrize(
    ("name", "uri"),
    [
        ("nvidia/Cosmos-Reason2-8B", "hf_model://nvidia/Cosmos-Reason2-8B"),
        ("nvidia/Cosmos-Reason2-8B@refs/pr/7", "hf_model://nvidia/Cosmos-Reason2-8B@refs/pr/7"),
        ("hf_model://a/b", "hf_model://a/b"),
        ("builtin://tiny-cosmos-reason", "builtin://tiny-cosmos-reason"),
    ],
)
def test_a_bare_hub_id_becomes_a_hub_uri(name: str, uri: str) -> None:
    assert model_uri.normalise(name) == uri


def test_a_local_folder_that_looks_like_a_hub_id_stays_local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nvidia" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert model_uri.normalise("nvidia/model") == str(tmp_path / "nvidia" / "model")


def test_folders_of_two_revisions_differ_and_stay_below_the_state_directory() -> None:
    first = model_uri.local_folder("hf_model://a/b@refs/pr/1")
    second = model_uri.local_folder("hf_model://a/b")
    assert first != second
    assert first.parent == second.parent == settings.state_dir() / "models" / "hub"


def test_each_remote_checkpoint_is_fetched_once_and_local_ones_never() -> None:
    uris = ["builtin://tiny-cosmos-reason", "/data/model", "builtin://tiny-cosmos-reason"]
    assert [uri for uri, _ in model_uri.fetches(uris)] == ["builtin://tiny-cosmos-reason"]
