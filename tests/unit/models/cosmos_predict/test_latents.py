"""What is encoded, what is taken from the disk, and what makes the difference."""

import shutil

import predict_training
import pytest
import torch

from tao_skill_bank.models.cosmos_predict import clips, dataset, latents, pipeline
from tao_skill_bank.models.cosmos_predict.latents import Base, Latents

CPU = torch.device("cpu")


@pytest.fixture
def run(tmp_path):
    with predict_training.one_rank(tmp_path / "run") as run:
        yield run


@pytest.fixture
def data(robot_data, tmp_path):
    return shutil.copytree(robot_data, tmp_path / "data")


@pytest.fixture
def encoded(monkeypatch):
    """The number of clips that the VAE encoded."""
    shapes = []
    real = pipeline.encode_latents

    def count(vae, pixels):
        shapes.extend(pixels.shape[2:] for _ in pixels)
        return real(vae, pixels)

    monkeypatch.setattr(pipeline, "encode_latents", count)
    return shapes


def prepared(
    tiny_pipeline, data, run, *, keep=True, num_frames=9, starts=(0, 5), dtype=torch.float32, **dataset_settings
):
    spec = predict_training.config(tiny_pipeline, data, dataset=dataset_settings)
    items = dataset.find_items(spec)[0]
    source = Latents(Base(tiny_pipeline, dtype), num_frames, CPU)
    wanted = [(item, start) for item in items for start in starts]
    return items, latents.prepare(wanted, source, run, keep=keep)


@pytest.mark.slow
def test_kept_latents_are_those_of_the_vae(tiny_pipeline, data, run):
    items, kept = prepared(tiny_pipeline, data, run)
    _, fresh = prepared(tiny_pipeline, data, run, keep=False)
    assert kept.vae is None
    got = kept.encode(kept.load(items[2], 5)[None])
    assert got.dtype == torch.float32
    assert got.shape == (1, 16, 3, 6, 10)
    torch.testing.assert_close(got, fresh.encode(fresh.load(items[2], 5)[None]))
    pixels = clips.load_window(items[2].video, 5, 9, (48, 80))
    assert torch.equal(fresh.load(items[2], 5), pixels)


@pytest.mark.slow
def test_a_second_run_encodes_nothing(tiny_pipeline, data, run, encoded, monkeypatch):
    prepared(tiny_pipeline, data, run)
    assert len(encoded) == 12
    monkeypatch.setattr(pipeline, "load_vae", None)  # the VAE is not even loaded
    prepared(tiny_pipeline, shutil.copytree(data, data.with_name("moved")), run)
    assert len(encoded) == 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({"height": 32}, 12),
        ({"starts": (0, 6)}, 6),
        ({"num_frames": 13}, 12),
        ({"dtype": torch.bfloat16}, 12),
        ({"aspect_buckets": True}, 0),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_what_latents_depend_on_is_encoded_again(changes, count, tiny_pipeline, data, run, encoded):
    prepared(tiny_pipeline, data, run)
    encoded.clear()
    prepared(tiny_pipeline, data, run, **changes)
    assert len(encoded) == count


@pytest.mark.slow
def test_a_clip_with_other_content_is_encoded_again_and_no_other(tiny_pipeline, data, run, encoded):
    items, first = prepared(tiny_pipeline, data, run)
    before = first.load(items[1], 0)
    encoded.clear()
    shutil.copy(items[4].video, items[1].video)
    items, second = prepared(tiny_pipeline, data, run)
    assert len(encoded) == 0  # the copy's content is known under another name
    assert not torch.equal(second.load(items[1], 0), before)
    assert torch.equal(second.load(items[1], 0), second.load(items[4], 0))
    shutil.copy(data / "val" / "videos" / "val-00000.mp4", items[1].video)
    prepared(tiny_pipeline, data, run)
    assert len(encoded) == 2


@pytest.mark.slow
def test_another_vae_has_latents_of_its_own(tiny_pipeline, data, run, encoded, tmp_path):
    import json

    prepared(tiny_pipeline, data, run)
    encoded.clear()
    other = shutil.copytree(tiny_pipeline, tmp_path / "other")
    settings = json.loads((other / "vae" / "config.json").read_text())
    (other / "vae" / "config.json").write_text(json.dumps(settings | {"latents_mean": [1.0] * 16}))
    prepared(other, data, run)
    assert len(encoded) == 12


@pytest.mark.slow
def test_progress_is_told_in_the_run_directory(tiny_pipeline, data, run):
    prepared(tiny_pipeline, data, run)
    lines = predict_training.lines(run.results_dir / "status.jsonl")
    encoded = [f"encoding windows: {number} of 12" for number in range(1, 13)]
    assert [line["message"] for line in lines] == ["looking for cached windows", *encoded]
