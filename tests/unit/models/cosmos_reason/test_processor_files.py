"""The limits that a checkpoint's files set, and that prediction and trainer read the same ones."""

import json
from pathlib import Path
from typing import Any

import pytest

from tao_skill_bank.data.media_probe import MediaProbe
from tao_skill_bank.errors import BlockedError
from tao_skill_bank.models.cosmos_reason import processor_files, record_tokens, tokens
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.tokens import QWEN3_VL, Geometry, PixelLimits
from tao_skill_bank.models.cosmos_reason.vision import PixelFormat


def write(folder: Path, **files: Any) -> Path:
    for name, document in files.items():
        text = document if isinstance(document, str) else json.dumps(document)
        (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def size(least: int, most: int) -> dict[str, Any]:
    return {"size": {"shortest_edge": least, "longest_edge": most}}


def test_images_and_videos_have_the_limits_of_their_own_files(tmp_path: Path) -> None:
    write(tmp_path, preprocessor_config=size(5_000, 90_000), video_preprocessor_config=size(7_000, 80_000))
    limits = processor_files.geometry_of(tmp_path).limits
    assert limits == PixelLimits(5_000, 90_000, 7_000, 80_000)
    assert PixelFormat.load(tmp_path).geometry.limits == limits


def test_the_file_of_all_processors_comes_first(tmp_path: Path) -> None:
    write(tmp_path, preprocessor_config=size(1, 2), video_preprocessor_config=size(3, 4))
    write(tmp_path, processor_config={"image_processor": size(5, 6), "video_processor": size(7, 8)})
    assert processor_files.geometry_of(tmp_path).limits == PixelLimits(5, 6, 7, 8)


def test_without_a_file_of_its_own_a_video_has_the_images_limits_as_in_transformers(tmp_path: Path) -> None:
    write(tmp_path, preprocessor_config=size(5_000, 90_000))
    assert processor_files.geometry_of(tmp_path).limits == PixelLimits(5_000, 90_000, 5_000, 90_000)


def test_older_keys_count_for_images(tmp_path: Path) -> None:
    write(tmp_path, preprocessor_config={**size(1, 2), "min_pixels": 3136, "max_pixels": 12845056})
    write(tmp_path, video_preprocessor_config=size(3, 4))
    assert processor_files.geometry_of(tmp_path).limits == PixelLimits(3136, 12845056, 3, 4)


def test_a_folder_without_files_has_the_published_limits(tmp_path: Path) -> None:
    assert processor_files.geometry_of(tmp_path) == QWEN3_VL == Geometry()
    assert processor_files.geometry_of_model(str(tmp_path)) == (QWEN3_VL, processor_files.PUBLISHED)


def test_the_embedded_models_limits_are_packaged(tiny_model: Path) -> None:
    geometry, place = processor_files.geometry_of_model("builtin://tiny-cosmos-reason")
    assert geometry == processor_files.geometry_of(tiny_model)
    assert geometry.limits.min_image_pixels == 1024
    assert place == "the processor files of builtin://tiny-cosmos-reason"


def test_a_video_processor_may_cap_every_frame(tmp_path: Path) -> None:
    write(tmp_path, video_preprocessor_config={"cap_pixels_per_frame": True, "max_video_tokens": 10})
    geometry = processor_files.geometry_of(tmp_path)
    rows, columns = tokens.frame_size(VideoSampling(), width=640, height=480, num_frames=4, geometry=geometry)
    assert 5 < rows * columns // 32**2 <= 10


@pytest.mark.parametrize("document", ["{", {"size": {"shortest_edge": "small"}}, {"patch_size": 0}])
def test_a_broken_file_is_named(tmp_path: Path, document: Any) -> None:
    write(tmp_path, preprocessor_config=document)
    with pytest.raises(BlockedError, match=r"preprocessor_config|processor files") as caught:
        processor_files.geometry_of(tmp_path)
    assert str(tmp_path) in caught.value.problems[0].path


def test_the_specs_own_bounds_come_before_the_checkpoints() -> None:
    geometry = Geometry(limits=PixelLimits(300_000, 400_000, 300_000, 400_000))
    how = {"width": 640, "height": 480, "geometry": geometry}

    def pixels(vision: VideoSampling) -> int:
        rows, columns = tokens.image_size(vision, **how)
        return rows * columns

    assert 300_000 <= pixels(VideoSampling()) <= 400_000
    assert pixels(VideoSampling(max_pixels=50_000, min_pixels=1024)) <= 50_000
    assert pixels(VideoSampling(min_pixels=1_000_000, max_pixels=2_000_000)) >= 1_000_000
    assert pixels(VideoSampling(total_pixels=20_000)) <= 20_000


@pytest.mark.parametrize(
    "spec",
    [
        {"custom": {"vision": {"nframes": 4}}, "policy": {"model_name_or_path": "MODEL"}},
        {"vision": {"nframes": 4}, "model": {"model_name": "MODEL", "enable_lora": False}},
        {
            "vision": {"nframes": 4},
            "model": {"model_path": "/an/adapter", "enable_lora": True, "base_model_path": "MODEL"},
        },
        {"num_frames": 4, "model_path": "MODEL", "enable_lora": False},
    ],
    ids=["train", "evaluate", "quantize an adapter", "inference"],
)
def test_prediction_reads_the_checkpoint_that_the_spec_names(tmp_path: Path, spec: dict[str, Any]) -> None:
    write(tmp_path, preprocessor_config=size(250_000, 300_000))
    spec = json.loads(json.dumps(spec).replace("MODEL", str(tmp_path)))
    probe = MediaProbe(64, 64, 1, 1, 1, 0.0, 0.0, has_variable_rate=False)
    predicted = record_tokens.feature_tokens(spec, {"image": "a.png"}, [probe])
    assert 250_000 // 32**2 <= predicted <= 300_000 // 32**2
    assert str(tmp_path) in record_tokens.basis(spec)
