import re

import pytest
from PIL import Image

from tao_skill_bank.models.cosmos_predict import gallery


@pytest.fixture
def entries(tmp_path):
    Image.new("RGB", (96, 64), "red").save(tmp_path / "start.png")

    def entry(name, variant, seed, image):
        return {
            "name": name,
            "variant": variant,
            "seed": seed,
            "prompt": f'Move the <b>"{name}"</b> & stop.',
            "image": image,
            "video": None,
            "output": f"videos/{variant}/{name}_seed{seed}.mp4",
            "frames": 9,
            "fps": 16,
            "width": 80,
            "height": 48,
        }

    start = str(tmp_path / "start.png")
    inputs = (("ball one", start), ("box#2", None))
    return [entry(n, v, s, i) for v in ("base", "lora") for n, i in inputs for s in (0, 1)]


GENERATION = {
    "safety_checker": "off",
    "model": "builtin://tiny-cosmos-predict",
    "adapters": [{"name": "lora", "path": "somewhere", "weight": 0.5}],
    "mode": "swap",
    "steps": 8,
    "guidance_scale": 7.0,
    "noise": "numpy",
    "withheld": [],
}


def page_of(folder, entries, **changes):
    return gallery.write(folder, entries, GENERATION | changes).read_text(encoding="utf-8")


def test_every_video_is_on_the_page_beside_its_prompt_and_first_frame(tmp_path, entries):
    page = page_of(tmp_path, entries)
    assert len(re.findall(r"<video ", page)) == 8
    assert len(re.findall(r"<article>", page)) == 2
    assert len(re.findall(r'<img src="data:image/jpeg;base64,', page)) == 1
    assert "weight 0.5" in page


def test_links_are_relative_and_safe_in_a_browser(tmp_path, entries):
    page = page_of(tmp_path, entries)
    assert 'src="videos/lora/ball%20one_seed1.mp4"' in page
    assert 'src="videos/lora/box%232_seed1.mp4"' in page
    assert "http" not in page


def test_prompts_are_text_not_markup(tmp_path, entries):
    assert "<b>" not in page_of(tmp_path, entries)


def test_an_unchecked_run_says_so(tmp_path, entries):
    assert "neither prompts nor videos were checked" in page_of(tmp_path, entries)
    page = page_of(tmp_path, entries, safety_checker="cosmos_guardrail", withheld=["videos/base/x.mp4"])
    assert "cosmos_guardrail; it withheld 1: videos/base/x.mp4" in page


def test_blended_adapters_are_told_with_their_weights(tmp_path, entries):
    blended = [entry | {"variant": "blend"} for entry in entries[:1]]
    adapters = [*GENERATION["adapters"], {"name": "dora", "path": "elsewhere", "weight": 2}]
    page = page_of(tmp_path, blended, mode="blend", adapters=adapters)
    assert "0.5 x lora + 2 x dora" in page


def test_a_run_without_videos_still_has_a_page(tmp_path):
    assert "Generated videos" in page_of(tmp_path, [])


def test_videos_of_a_prompt_stand_in_one_row_and_are_stepped_frame_by_frame_together(tmp_path, entries):
    page = page_of(tmp_path, entries)
    ranges = re.findall(r'<input type="range" min="0" max="(\d+)" value="0" step="1" data-fps="(\d+)"', page)
    assert ranges == [("8", "16")] * 2
    assert "grid-auto-flow: column" in page
