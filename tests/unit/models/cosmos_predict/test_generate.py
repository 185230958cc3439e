import itertools
import json
import signal
import types
from pathlib import Path

import av
import numpy as np
import plain_diffusers
import pytest
import torch
from peft import LoraConfig
from PIL import Image

from tao_skill_bank.models.cosmos_predict import (
    adapter_folder,
    generate,
    generator,
    pipeline,
    safety,
    sampler,
    video_file,
)
from tao_skill_bank.models.cosmos_predict.config import GenerateConfig
from tao_skill_bank.models.cosmos_predict.config.generate import AdapterUse
from tao_skill_bank.models.cosmos_predict.config.shared import Model
from tao_skill_bank.training import distributed, entrypoint

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2"]
SIZES = {"num_frames": 9, "height": 32, "width": 48, "num_steps": 2}
PROMPT, NEGATIVE = "The robot moves left.", "ugly"


@pytest.fixture
def run(tmp_path):
    """Run generate in this process as one rank; returns the exit code."""

    def start(spec, folder=None):
        try:
            return entrypoint.run(spec, generate.generate, folder or tmp_path / "run")
        finally:
            distributed.stop()

    return start


@pytest.fixture
def inputs(tmp_path):
    """A prompt alone, one with a picture of another size, and one with a clip."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for name in ("alone", "clip", "picture"):
        (folder / f"{name}.txt").write_text(f"The robot moves the {name}.")
    Image.fromarray(generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(folder / "picture.png")
    video_file.write(folder / "clip.mp4", generator.integers(0, 255, (7, 32, 48, 3), dtype=np.uint8), 16)
    return folder


@pytest.fixture(scope="session")
def adapters(tiny_pipeline, tmp_path_factory):
    """A LoRA whose alpha is not its rank, and a DoRA; both do something. And a picture to start from."""
    folders = {}
    for seed, (name, use_dora) in enumerate({"lora": False, "dora": True}.items()):
        transformer = pipeline.load_transformer(tiny_pipeline, torch.float32, torch.device("cpu"))
        transformer.add_adapter(LoraConfig(r=4, lora_alpha=9, use_dora=use_dora, target_modules=TARGETS))
        torch.manual_seed(seed)
        for parameter_name, parameter in transformer.named_parameters():
            if "lora_" in parameter_name:
                parameter.data += 0.1 * torch.randn_like(parameter)
        folders[name] = tmp_path_factory.mktemp("adapters") / name
        adapter_folder.write(folders[name], transformer, tiny_pipeline)
    folders["picture"] = folders["lora"].with_name("start.png")
    pixels = np.random.default_rng(1).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folders["picture"])
    return folders


@pytest.fixture
def spec(tiny_pipeline):
    """Return a spec of one prompt in float32, changed as a test wants."""

    def make(**changes):
        given = {} if "inputs" in changes else {"prompt": PROMPT}
        settings = {"model": Model(str(tiny_pipeline)), "safety_checker": "off", "mixed_precision": "no", **SIZES}
        return GenerateConfig(**(settings | {"negative_prompt": NEGATIVE} | given | changes))

    return make


def use(adapters, *names, weight=1.0):
    return [AdapterUse(str(adapters[name]), name, weight) for name in names]


def results_of(folder):
    return json.loads((folder / "results.json").read_text())


def frames_of(path):
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]).astype(int)


def videos_of(folder):
    return {entry["output"]: (folder / entry["output"]).read_bytes() for entry in results_of(folder)}


def failure(folder):
    last = json.loads((folder / "status.jsonl").read_text().splitlines()[-1])
    assert last["state"] == "FAILURE"
    return last["diagnosis"]


@pytest.fixture
def latents(monkeypatch):
    """Record what is decoded: the mp4 rounds, and 8 bits hide small differences."""
    decoded = []
    plain = pipeline.decode_latents

    def decode(vae, rows):
        decoded.append(rows)
        return plain(vae, rows)

    monkeypatch.setattr(pipeline, "decode_latents", decode)
    return decoded


# --- what is made -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_folder_of_inputs_becomes_videos_results_and_a_gallery(run, spec, inputs, adapters, tmp_path):
    assert run(spec(inputs=str(inputs), adapters=use(adapters, "lora"), seeds=[0, 3])) == 0
    results = results_of(tmp_path / "run")
    made = list(itertools.product(("base", "lora"), ("alone", "clip", "picture"), (0, 3)))
    assert [(entry["variant"], entry["name"], entry["seed"]) for entry in results] == made
    assert {entry["name"]: Path(entry["image"] or entry["video"] or "-").name for entry in results} == {
        "alone": "-",
        "clip": "clip.mp4",
        "picture": "picture.png",
    }
    for entry in results:
        assert entry["output"] == f"videos/{entry['variant']}/{entry['name']}_seed{entry['seed']}.mp4"
        assert frames_of(tmp_path / "run" / entry["output"]).shape == (9, 32, 48, 3)
    generation = json.loads((tmp_path / "run" / "generation.json").read_text())
    assert generation["safety_checker"] == "off"
    assert [adapter["name"] for adapter in generation["adapters"]] == ["lora"]
    assert (generation["mode"], generation["steps"], generation["noise"]) == ("swap", 2, "numpy")
    page = (tmp_path / "run" / "gallery.html").read_text()
    assert all(f'src="{entry["output"]}"' in page for entry in results)


@pytest.mark.slow
def test_seeds_matter_and_give_the_same_video_again(run, spec, tmp_path, latents):
    assert run(spec(seeds=[0, 1])) == 0
    assert run(spec(seeds=[1]), tmp_path / "again") == 0
    first, second, again = latents
    assert (first - second).abs().max() > 0.1
    torch.testing.assert_close(again, second)  # not to the bit: CPU kernels differ with where weights lie in memory
    assert len({*videos_of(tmp_path / "run").values()}) == 2


@pytest.fixture
def script(tiny_pipeline, monkeypatch):
    """Run diffusers' own pipeline with an adapter, as a plain script does, on our noise."""
    pipe = plain_diffusers.load(tiny_pipeline, monkeypatch)

    def sample(adapter, picture, seed, output_type):
        pipe.unload_lora_weights()
        pipe.load_lora_weights(str(adapter))
        texts = {"prompt": PROMPT, "negative_prompt": NEGATIVE}
        sizes = {"height": 32, "width": 48, "num_frames": 9, "num_inference_steps": 2}
        start = sampler.noise((16, 3, 4, 6), [seed])
        return pipe(image=Image.open(picture), latents=start, output_type=output_type, **texts, **sizes).frames[0]

    return sample


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "dora"])
def test_an_adapter_gives_the_same_video_as_in_a_plain_diffusers_script(run, spec, adapters, script, latents, name):
    picture = adapters["picture"]
    assert run(spec(adapters=use(adapters, name), image=str(picture), seeds=[5])) == 0
    base, ours = (rows[0] for rows in latents)
    theirs = script(adapters[name], picture, 5, "latent")
    torch.testing.assert_close(ours, theirs, atol=2e-4, rtol=2e-4)
    assert (base - theirs).abs().max() > 0.05


@pytest.mark.slow
def test_frames_are_those_of_a_plain_diffusers_script(run, spec, adapters, script, monkeypatch):
    written = []
    monkeypatch.setattr(video_file, "write", lambda _path, frames, _fps: written.append(frames))
    picture = adapters["picture"]
    assert run(spec(adapters=use(adapters, "lora"), include_base=False, image=str(picture), seeds=[5])) == 0
    theirs = script(adapters["lora"], picture, 5, "np") * 255
    assert np.abs(written[0] - theirs).max() <= 1


@pytest.mark.slow
def test_a_single_adapter_is_the_same_swapped_blended_and_fused(run, spec, adapters, tmp_path, latents):
    for mode in ("swap", "blend", "fuse"):
        settings = {"adapter_mode": mode, "include_base": False, "adapters": use(adapters, "dora", weight=0.6)}
        assert run(spec(**settings), tmp_path / mode) == 0
    swapped, blended, fused = latents
    torch.testing.assert_close(blended, swapped)
    torch.testing.assert_close(fused, swapped, atol=2e-4, rtol=2e-4)
    assert [results_of(tmp_path / mode)[0]["variant"] for mode in ("swap", "blend", "fuse")] == [
        "dora",
        "blend",
        "fuse",
    ]


@pytest.mark.slow
def test_several_adapters_are_the_same_blended_and_fused_and_neither_alone(run, spec, adapters, tmp_path, latents):
    both = use(adapters, "lora", "dora", weight=0.8)
    for mode in ("swap", "blend", "fuse"):
        assert run(spec(adapter_mode=mode, include_base=False, adapters=both), tmp_path / mode) == 0
    lora, dora, blended, fused = latents
    torch.testing.assert_close(fused, blended, atol=2e-4, rtol=2e-4)
    assert (blended - lora).abs().max() > 0.02
    assert (blended - dora).abs().max() > 0.02


@pytest.mark.slow
def test_the_base_beside_fused_adapters_is_the_plain_base(run, spec, adapters, tmp_path, latents):
    assert run(spec(), tmp_path / "base") == 0
    assert run(spec(adapter_mode="fuse", adapters=use(adapters, "lora"))) == 0
    alone, beside, fused = latents
    torch.testing.assert_close(alone, beside)
    assert (beside - fused).abs().max() > 0.02


@pytest.mark.slow
def test_a_batch_gives_the_videos_of_its_rows(run, spec, inputs, tmp_path, latents):
    assert run(spec(inputs=str(inputs)), tmp_path / "single") == 0
    assert run(spec(inputs=str(inputs), batch_size=2), tmp_path / "batched") == 0
    for alone, batched in zip(latents[:3], latents[3:], strict=True):
        torch.testing.assert_close(batched, alone, atol=2e-4, rtol=2e-4)


@pytest.mark.slow
def test_without_guidance_no_negative_prompt_is_needed(run, spec, tmp_path, latents):
    assert run(spec(guidance_scale=1.0, negative_prompt=None)) == 0
    assert run(spec(), tmp_path / "guided") == 0
    assert not torch.equal(*latents)


def test_the_negative_prompt_of_the_pipeline_is_the_default(spec):
    from diffusers.pipelines.cosmos import pipeline_cosmos2_5_predict

    default = pipeline_cosmos2_5_predict.DEFAULT_NEGATIVE_PROMPT
    assert generator.negative_prompt(spec(negative_prompt=None)) == default
    assert generator.negative_prompt(spec(negative_prompt="")) == ""


@pytest.mark.slow
def test_bf16_makes_a_video(run, spec, adapters, tmp_path):
    assert run(spec(mixed_precision="bf16", adapters=use(adapters, "dora"))) == 0
    assert len(results_of(tmp_path / "run")) == 2


# --- resuming -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_resumed_run_keeps_finished_videos_and_makes_the_missing_ones(run, spec, inputs, tmp_path, latents):
    folder = tmp_path / "run"
    assert run(spec(inputs=str(inputs))) == 0
    complete = videos_of(folder)
    (folder / "videos/base/clip_seed0.mp4").unlink()
    stamps = {name: (folder / name).stat().st_mtime_ns for name in complete if "clip" not in name}
    assert run(spec(inputs=str(inputs))) == 0
    assert len(latents) == 4
    torch.testing.assert_close(latents[3], latents[1])
    resumed = videos_of(folder)
    assert resumed.keys() == complete.keys()
    assert all(resumed[name] == complete[name] for name in stamps)
    assert {name: (folder / name).stat().st_mtime_ns for name in stamps} == stamps


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(run, spec, inputs, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    plain, calls = video_file.write, []

    def dying(path, *arguments):
        calls.append(path)
        if len(calls) == 2:
            path.with_name(".clip.partial.mp4").write_bytes(b"half a video")
            raise entrypoint.Canceled(signal.SIGTERM)
        plain(path, *arguments)

    monkeypatch.setattr(video_file, "write", dying)
    assert run(spec(inputs=str(inputs))) == entrypoint.EXIT_CANCELED
    assert not (folder / "results.json").exists()
    assert [path.name for path in folder.rglob("*_seed0.mp4")] == ["alone_seed0.mp4"]
    monkeypatch.setattr(video_file, "write", plain)
    assert run(spec(inputs=str(inputs))) == 0
    assert len(results_of(folder)) == 3


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"num_steps": 3}, {"guidance_scale": 2.0}, {"skip_saved": False}], ids=str)
def test_a_video_of_other_settings_is_made_again(run, spec, latents, changes):
    assert run(spec()) == 0
    assert run(spec(**changes)) == 0
    assert len(latents) == 2


@pytest.mark.slow
def test_another_adapter_of_the_same_name_makes_its_videos_again(run, spec, adapters, latents):
    assert run(spec(adapters=[AdapterUse(str(adapters["lora"]), "mine")])) == 0
    assert run(spec(adapters=[AdapterUse(str(adapters["dora"]), "mine")])) == 0
    assert len(latents) == 3  # the base is kept


@pytest.mark.slow
def test_a_picture_that_changed_makes_its_video_again(run, spec, inputs, latents):
    assert run(spec(inputs=str(inputs))) == 0
    Image.new("RGB", (48, 32), "red").save(inputs / "picture.png")
    assert run(spec(inputs=str(inputs))) == 0
    assert len(latents) == 4


@pytest.mark.slow
def test_nothing_is_loaded_when_all_is_there(run, spec, monkeypatch):
    assert run(spec()) == 0
    monkeypatch.setattr(pipeline, "load_transformer", None)
    assert run(spec()) == 0


# --- safety -------------------------------------------------------------------------------------------------------


@pytest.fixture
def checker(monkeypatch):
    """Stand in for cosmos_guardrail, which needs models of its own."""
    fake = types.SimpleNamespace(
        check_text_safety=lambda prompt: "unsafe" not in prompt, check_video_safety=lambda frames: frames
    )
    monkeypatch.setattr(safety, "require_safety_checker", lambda setting: setting == "auto")
    monkeypatch.setattr(safety, "load_safety_checker", lambda _device: fake)
    return fake


@pytest.mark.slow
def test_the_checker_is_recorded(run, spec, checker, tmp_path):
    assert run(spec(safety_checker="auto")) == 0
    assert json.loads((tmp_path / "run" / "generation.json").read_text())["safety_checker"] == "cosmos_guardrail"


def test_an_unsafe_prompt_stops_the_run_before_anything_is_made(run, spec, checker, tmp_path):
    assert run(spec(safety_checker="auto", prompt="something unsafe")) == 3
    assert failure(tmp_path / "run")["code"] == "unsafe_prompt"


@pytest.mark.slow
def test_what_the_checker_changes_is_what_is_written(run, spec, checker, tmp_path):
    checker.check_video_safety = np.zeros_like
    assert run(spec(safety_checker="auto")) == 0
    assert frames_of(tmp_path / "run" / results_of(tmp_path / "run")[0]["output"]).max() < 8


@pytest.mark.slow
def test_a_video_that_the_checker_withholds_is_left_out_and_told(run, spec, checker, tmp_path, latents):
    checker.check_video_safety = lambda _frames: None
    assert run(spec(safety_checker="auto")) == 0
    assert results_of(tmp_path / "run") == []
    assert json.loads((tmp_path / "run" / "generation.json").read_text())["withheld"] == [
        "videos/base/prompt_seed0.mp4"
    ]
    assert "withheld 1" in (tmp_path / "run" / "gallery.html").read_text()
    assert run(spec(safety_checker="auto")) == 0
    assert len(latents) == 1


# --- bad input ----------------------------------------------------------------------------------------------------


def check_stops(run, spec, folder, code, told, monkeypatch):
    """The run ends with one clear error, before any model is loaded."""
    monkeypatch.setattr(pipeline, "load_text_encoder", None)
    assert run(spec) != 0
    diagnosis = failure(folder)
    assert (diagnosis["code"], told in diagnosis["cause"]) == (code, True), diagnosis


def test_a_missing_guardrail_stops_the_run(run, spec, tmp_path, monkeypatch):
    monkeypatch.setattr(safety, "GUARDRAIL", "cosmos_guardrail_that_is_not_installed")
    check_stops(run, spec(safety_checker="auto"), tmp_path / "run", "no_safety_checker", "not installed", monkeypatch)


def test_no_inputs_stop_the_run(run, spec, tmp_path, monkeypatch):
    absent = str(tmp_path / "absent")
    check_stops(run, spec(inputs=absent), tmp_path / "run", "input_missing", "does not exist", monkeypatch)


def test_an_unreadable_picture_stops_the_run(run, spec, inputs, tmp_path, monkeypatch):
    (inputs / "picture.png").write_bytes(b"no picture")
    told = "picture.png cannot be used"
    check_stops(run, spec(inputs=str(inputs)), tmp_path / "run", "media_unreadable", told, monkeypatch)


def test_a_picture_that_does_not_exist_stops_the_run(run, spec, tmp_path, monkeypatch):
    missing = spec(image=str(tmp_path / "absent.png"))
    check_stops(run, missing, tmp_path / "run", "input_missing", "does not exist", monkeypatch)


def test_a_corrupt_clip_stops_the_run(run, spec, inputs, tmp_path, monkeypatch):
    (inputs / "clip.mp4").write_bytes((inputs / "clip.mp4").read_bytes()[:200])
    check_stops(run, spec(inputs=str(inputs)), tmp_path / "run", "media_unreadable", "clip.mp4", monkeypatch)


def test_a_clip_too_short_to_continue_stops_the_run(run, spec, inputs, tmp_path, monkeypatch):
    video_file.write(inputs / "clip.mp4", np.zeros((3, 32, 48, 3), np.uint8), 16)
    told = "has 3 frames; 2 latent frames need its last 5"
    check_stops(run, spec(inputs=str(inputs)), tmp_path / "run", "clip_too_short", told, monkeypatch)


def test_a_video_that_is_all_given_stops_the_run(run, spec, inputs, tmp_path, monkeypatch):
    whole = spec(inputs=str(inputs), num_frames=5)
    check_stops(run, whole, tmp_path / "run", "nothing_to_predict", "2 are conditioned", monkeypatch)


def test_an_adapter_that_does_not_exist_stops_the_run(run, spec, tmp_path, monkeypatch):
    absent = [AdapterUse(str(tmp_path / "absent"), "robot")]
    check_stops(run, spec(adapters=absent), tmp_path / "run", "input_missing", "does not exist", monkeypatch)


def test_a_folder_that_is_no_pipeline_stops_the_run(run, spec, inputs, tmp_path, monkeypatch):
    other = spec(model=Model(str(inputs)))
    check_stops(run, other, tmp_path / "run", "no_pipeline", "model_index.json", monkeypatch)


@pytest.mark.slow
def test_an_adapter_of_another_model_stops_the_run_before_a_video_is_made(run, spec, adapters, tmp_path, latents):
    from safetensors.torch import save_file

    module = "transformer.transformer_blocks.0.attn1.to_q"
    (tmp_path / "other").mkdir()
    tensors = {f"{module}.lora_A.weight": torch.zeros(4, 5120), f"{module}.lora_B.weight": torch.zeros(5120, 4)}
    save_file(tensors, tmp_path / "other" / "pytorch_lora_weights.safetensors")
    assert run(spec(adapters=[*use(adapters, "lora"), AdapterUse(str(tmp_path / "other"), "big")])) == 3
    assert "trained with 5120 inputs" in failure(tmp_path / "run")["cause"]
    assert not latents
