"""Names of datasets become folders, against a stub of the Hub on loopback."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dataset_hub import COMMIT, serving

from tao_skill_bank.errors import BackendError, BlockedError, UnknownNameError
from tao_skill_bank.staging import hub_dataset

NAMES = {"metadata.csv", "gr1/1.mp4", "gr1/2.mp4", "other/3.txt"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in NAMES:
        (tmp_path / "hub" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "hub" / name).write_text(name)
    with serving(tmp_path / "hub") as server:
        point_at(server.address, monkeypatch)
        yield server


def point_at(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)


def files_in(folder: Path) -> set[str]:
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in found if not name.startswith(".")}


@pytest.mark.usefixtures("hub")
def test_a_dataset_is_downloaded_to_the_state_folder(state_dir: Path) -> None:
    found = hub_dataset.locate("hf_dataset://acme/robot")
    assert found.folder == state_dir / "datasets" / "acme--robot"
    assert found.revision == COMMIT
    assert files_in(found.folder) == NAMES


@pytest.mark.usefixtures("hub")
def test_only_the_files_that_are_asked_for_are_downloaded() -> None:
    assert files_in(hub_dataset.locate("hf_dataset://acme/robot", ("gr1/*",)).folder) == {"gr1/1.mp4", "gr1/2.mp4"}
    assert files_in(hub_dataset.locate("hf_dataset://acme/robot").folder) == NAMES


@pytest.mark.usefixtures("hub")
def test_a_folder_that_the_dataset_lacks_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"gr2/\*"):
        hub_dataset.locate("hf_dataset://acme/robot", ("gr2/*",))


def test_a_finished_download_is_not_asked_for_again(hub: Any) -> None:
    hub_dataset.locate("hf_dataset://acme/robot")
    hub.asked.clear()
    hub_dataset.locate("hf_dataset://acme/robot")
    assert not [path for path in hub.asked if "/resolve/" in path]


def test_a_cut_download_goes_on_where_it_stopped(hub: Any) -> None:
    hub.broken.add("gr1/2.mp4")
    with pytest.raises(BackendError, match="acme/robot"):
        hub_dataset.locate("hf_dataset://acme/robot")
    hub.broken.clear()
    hub.asked.clear()
    assert files_in(hub_dataset.locate("hf_dataset://acme/robot").folder) == NAMES
    assert not [path for path in hub.asked if path.endswith("1.mp4")]


def test_without_a_connection_only_a_finished_download_is_used(
    hub: Any, monkeypatch: pytest.MonkeyPatch, state_dir: Path
) -> None:
    hub_dataset.locate("hf_dataset://acme/robot", ("gr1/*",))
    point_at("http://127.0.0.1:9", monkeypatch)
    assert hub_dataset.locate("hf_dataset://acme/robot", ("gr1/*",)).revision == COMMIT
    with pytest.raises(BackendError, match="Connection refused") as caught:
        hub_dataset.locate("hf_dataset://acme/robot")
    assert caught.value.exit_code == 6
    assert "a local folder" in caught.value.problems[0].fix
    (state_dir / "datasets" / "acme--robot" / hub_dataset.MARKER).unlink()
    with pytest.raises(BackendError):
        hub_dataset.locate("hf_dataset://acme/robot", ("gr1/*",))


@pytest.mark.usefixtures("hub")
def test_what_the_hub_does_not_give_is_told_as_for_models() -> None:
    with pytest.raises(BlockedError, match="HF_TOKEN") as caught:
        hub_dataset.locate("hf_dataset://acme/gated")
    assert (caught.value.exit_code, caught.value.problems[0].code) == (4, "gated_dataset")
    assert "https://huggingface.co/datasets/acme/gated" in caught.value.problems[0].fix
    with pytest.raises(UnknownNameError, match="no revision 'nowhere'"):
        hub_dataset.locate("hf_dataset://acme/robot@nowhere")
    for name in ("acme/nothing", "a/b/c/d"):
        with pytest.raises(UnknownNameError, match=f"no visible dataset {name}"):
            hub_dataset.locate(f"hf_dataset://{name}")


def test_a_switched_off_hub_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BlockedError, match="disabled"):
        hub_dataset.locate("hf_dataset://acme/robot")


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert hub_dataset.locate(str(tmp_path)) == hub_dataset.Source(tmp_path)
    with pytest.raises(UnknownNameError, match="does not exist"):
        hub_dataset.locate(str(tmp_path / "nowhere"))
