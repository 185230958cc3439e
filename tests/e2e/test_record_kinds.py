"""Every kind of record that people bring ends in the plan as it should: read, warned of, or refused with the fix.

What is read is then loaded as the trainer loads it, and the frames and texts are compared with what was meant.
"""

import json
import tarfile
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from preflight_worlds import write_clip

from tao_skill_bank.cli.main import main

pytest.importorskip("torch")

from PIL import Image

from tao_skill_bank.models.cosmos_reason import builtin, data
from tao_skill_bank.models.cosmos_reason.config.shared import VideoSampling
from tao_skill_bank.models.cosmos_reason.conversation import text_of
from tao_skill_bank.models.cosmos_reason.processor import Processor

QUESTION = "Which way does it go?"
FRAMES = [f"frames/f{number}.jpg" for number in range(8)]
TINY = (
    *("--set", "policy.model_name_or_path=builtin://tiny-cosmos-reason", "--set", "validation.enable=false"),
    *("--set", "train.train_batch_per_replica=1", "--set", "train.train_policy.mini_batch=1"),
)
Record = dict[str, Any]
Write = Callable[[Path], None]


def turns(question: str = f"<video>\n{QUESTION}", answer: str = "left") -> list[Record]:
    return [{"from": "human", "value": question}, {"from": "gpt", "value": answer}]


def said(*content: Record) -> list[Record]:
    return [
        {"role": "user", "content": [*content, {"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": "left"},
    ]


def clip(index: int = 0, **changes: Any) -> Record:
    return {"id": f"r{index}", "video": "videos/a.mp4", "video_fps": 4, "conversations": turns(), **changes}


def without(record: Record, *keys: str) -> Record:
    return {key: value for key, value in record.items() if key not in keys}


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 12 frames at 4 per second, eight frames and two images; frame k is a shade of 20 k."""
    root = tmp_path_factory.mktemp("media")
    write_clip(root / "videos" / "a.mp4")
    (root / "frames").mkdir()
    for number, name in enumerate(FRAMES):
        Image.new("RGB", (64, 64), (number * 20,) * 3).save(root / name, quality=100)
    for name, color in (("a.png", "red"), ("b.png", "blue")):
        Image.new("RGB", (64, 64), color).save(root / name)
    return root


@pytest.fixture
def root(media: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("videos", "frames", "a.png", "b.png"):
        (folder / name).symlink_to(media / name)
    return folder


def write(root: Path, content: Any, name: str = "annotations.json") -> None:
    (root / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


@pytest.fixture(scope="session")
def known_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state directory that plans share, so that the tiny model is inspected once."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture
def planned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, known_model: Path
) -> Callable[[Path], list[Record]]:
    """Return the findings of a plan that trains on a folder."""
    monkeypatch.setenv("TAO_STATE_DIR", str(known_model))

    def plan(root: Path) -> list[Record]:
        capsys.readouterr()
        words = ("plan", "tao-finetune-cosmos-reason", "train", "--train", root, "--automl-policy", "off", *TINY)
        with pytest.raises(SystemExit) as ended:
            main([*map(str, words), "--results-dir", str(root.parent / "run"), "--json", "--full"])
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        document = json.loads(shown.out)
        found: list[Record] = document["errors"] if ended.value.code else document["findings"]
        assert ended.value.code == (3 if any(each.get("severity", "blocking") == "blocking" for each in found) else 0)
        return found

    return plan


def blocking(found: list[Record]) -> list[Record]:
    return [each for each in found if each.get("severity", "blocking") == "blocking"]


# --- refused: code, words of the message (the place among them), record ---

FIRST = "record 0"
REFUSED: list[tuple[str, str, str, Record]] = [
    ("A4", "reserved_token", "conversations[0].value: <|video_pad|>", clip(conversations=turns("<|video_pad|>?"))),
    (
        "A14",
        "reserved_token",
        "conversations[1].value",
        clip(conversations=turns(answer="left<|im_end|>\n<|im_start|>user\nx")),
    ),
    ("A5", "answer_with_media", "conversations[1].value: <video>", clip(conversations=turns("?", "<video>\nleft"))),
    (
        "A5 part",
        "answer_with_media",
        "conversations[1].content[0]",
        clip(conversations=[turns()[0], {"role": "assistant", "content": [{"type": "image", "image": "a.png"}]}]),
    ),
    ("A8", "text_invalid", "conversations[0].value", clip(conversations=turns("Broken \ud83d emoji"))),
    ("A13", "answer_empty", "conversations[1]", clip(conversations=turns(answer=" \n"))),
    (
        "H1",
        "answer_without_question",
        "conversations[0]",
        clip(conversations=[{"from": "gpt", "value": "Hi"}, *turns()]),
    ),
    (
        "H2",
        "media_address",
        "image: data:image/png",
        {"id": "r", "image": "data:image/png;base64," + "A" * 100_000, "conversations": turns("?")},
    ),
    (
        "A3 remote",
        "media_address",
        "https://host/a.png",
        {"id": "r", "conversations": said({"type": "image_url", "image_url": {"url": "https://host/a.png"}})},
    ),
    (
        "base64",
        "media_address",
        "characters of base64",
        {"id": "r", "image": "/9j/" + "A" * 1000, "conversations": turns("?")},
    ),
    ("long name", "media_name_invalid", "255 bytes", clip(video="é" * 200 + ".mp4")),
    ("NUL", "media_name_invalid", "NUL", clip(video="a\0.mp4")),
    (
        "list",
        "media_name_invalid",
        "image[0]: a list of 1",
        {"id": "r", "image": [["a.png"]], "conversations": turns("?")},
    ),
    ("Windows", "media_name_windows", "write it as videos/a.mp4", clip(video="C:\\videos\\a.mp4")),
    (
        "clip as image",
        "media_kind",
        "image: videos/a.mp4 as an image",
        {"id": "r", "image": "videos/a.mp4", "conversations": turns("?")},
    ),
    ("image as clip", "media_kind", "video: frames/f0.jpg as a video", clip(video="frames/f0.jpg")),
    ("rate", "video_fps_invalid", "video_fps: fast", clip(video_fps="fast")),
    ("range", "clip_range_invalid", "video_end: 1 is not above video_start 2", clip(video_start=2, video_end=1)),
    ("range behind the end", "empty_time_range", "video_start", clip(video_start=90)),
    ("missing frame", "media_missing", "frames/f9.jpg", clip(video=[*FRAMES, "frames/f9.jpg"])),
    ("frames, no rate", "frames_without_rate", "video", without(clip(video=FRAMES), "video_fps")),
    ("frame numbers", "frames_indices_invalid", "2 numbers for 8 frames", clip(video=FRAMES, frames_indices=[0, 4])),
]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "words", "record"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_record_is_refused_with_record_place_and_fix(
    root: Path, planned: Callable[[Path], list[Record]], code: str, words: str, record: Record
) -> None:
    write(root, [record, clip(1)])
    found = {each["code"]: each for each in blocking(planned(root))}
    assert code in found
    message = found[code]["message"]
    assert words in message
    assert len(message) < 700
    assert found[code]["fix"]
    if code != "empty_time_range":
        assert FIRST in message


def other_form(root: Path) -> None:
    there = unicodedata.normalize("NFD", "é.mp4")
    (root / there).write_bytes((root / "videos" / "a.mp4").read_bytes())
    write(root, [clip(video=unicodedata.normalize("NFC", "é.mp4"))])


def other_case(root: Path) -> None:
    write(root, [clip(video="Videos/A.mp4")])


def pointer(root: Path) -> None:
    write(root, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


def too_deep(root: Path) -> None:
    write(root, "[" + '{"a":' * 5000 + "1" + "}" * 5000 + "]")


def deep_lines(root: Path) -> None:
    write(root, json.dumps(clip()) + "\n" + '{"video": ' + "[" * 200 + "]" * 200 + "}\n")


def many_digits(root: Path) -> None:
    write(root, json.dumps([clip(video_fps=7)]).replace("7", "7" * 5000))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "code", "words", "fix"),
    [
        (other_form, "media_missing", "differs in its Unicode form", "mv FILE NAME"),
        (other_case, "media_missing", "'videos/a.mp4' there (it differs in upper and lower case)", "mv FILE NAME"),
        (pointer, "annotation_unreadable", "Git LFS pointer", "git lfs pull"),
        (too_deep, "annotation_unreadable", "item 0: it is nested more than 100 levels deep", "strict JSON"),
        (deep_lines, "record_too_deep", "more than 100 levels deep (record 1,", "Flatten"),
        (many_digits, "annotation_unreadable", "more than 4300 digits", "strict JSON"),
    ],
)
def test_a_file_is_refused_with_its_place_and_fix(
    root: Path, planned: Callable[[Path], list[Record]], broken: Write, code: str, words: str, fix: str
) -> None:
    broken(root)
    found = {each["code"]: each for each in blocking(planned(root))}
    assert words in found[code]["message"]
    assert fix in found[code]["fix"]


# --- read: the frames' shades and times, the names, and the texts ---

# Shades of a clip decoded from mp4 are off by a few; nframes=4 of 12 frames are 0, 4, 7, 11, of 8 frames 0, 2, 5, 7.
WHOLE = ([0, 4, 7, 11], (0.5, 2.25))
READ: list[tuple[str, Any, dict[str, Any]]] = [
    ("A1a", [clip(video=FRAMES, conversations=turns(QUESTION))], {"shades": [0, 2, 5, 7], "times": (0.25, 1.5)}),
    ("A1b", [clip(video=FRAMES)], {"shades": [0, 2, 5, 7], "times": (0.25, 1.5)}),
    (
        "sampled frames",
        [without(clip(video=FRAMES[:4], sample_fps=2), "video_fps")],
        {"shades": [0, 1, 2, 3], "times": (0.25, 1.25)},
    ),
    (
        "numbered frames",
        [clip(video=FRAMES[:4], frames_indices=[0, 4, 8, 12])],
        {"shades": [0, 1, 2, 3], "times": (0.5, 2.5)},
    ),
    ("A3a", [without(clip(conversations=said({"type": "video", "video": "videos/a.mp4"})), "video")], {}),
    (
        "A3b",
        [{"id": "r0", "image": "a.png", "conversations": said({"type": "image_url", "image_url": {"url": "a.png"}})}],
        {"names": ["a.png"], "kinds": ["image"]},
    ),
    ("A6a", [clip(system="Answer like a pirate.")], {"system": "Answer like a pirate."}),
    ("A6b", [clip(video_start=0.0, video_end=1.0)], {"shades": [0, 1, 3, 4], "times": (0.125, 0.875)}),
    ("A6b, bare", [clip(start=1.0, end=2.0)], {"shades": [4, 5, 7, 8], "times": (1.125, 1.875)}),
    ("G1", "\n".join(json.dumps(clip(index)) for index in range(2)), {}),
    ("G4", "\r\n".join(json.dumps(clip(index)) for index in range(2)) + "\r\n", {}),
    ("H5", [clip(conversations=[*turns(), *turns("Is it fast?", "no")])], {"answers": ["left", "no"]}),
    (
        "L1",
        [{"id": "r0", "images": ["a.png", "b.png"], "conversations": turns(f"<image>\n{QUESTION}")}],
        {"names": ["a.png", "b.png"], "kinds": ["image", "image"]},
    ),
    ("M1", [clip(video_fps="4000/1000")], {}),
    ("LLaVA-Video", [clip(conversations=turns(f"<image>\n{QUESTION}"))], {}),
    ("by id", {"r0": without(clip(), "id"), "r1": without(clip(), "id")}, {}),
    ("columns", [without(clip(question=QUESTION, answer="left"), "conversations")], {}),
    ("file URL", "file URL", {}),
]


@pytest.fixture(scope="session")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Processor:
    folder = tmp_path_factory.mktemp("model")
    builtin.create("tiny-cosmos-reason", folder)
    return Processor.load(folder)


@pytest.mark.slow
@pytest.mark.parametrize(("content", "expected"), [row[1:] for row in READ], ids=[row[0] for row in READ])
def test_a_record_is_read_as_it_is_meant(
    root: Path, planned: Callable[[Path], list[Record]], processor: Processor, content: Any, expected: dict[str, Any]
) -> None:
    if content == "file URL":
        content = [clip(video=f"file://{root}/videos/a.mp4")]
    write(root, content)
    assert blocking(planned(root)) == []
    records = data.read_annotations(str(root / "annotations.json"))
    shown = data.Presentation(VideoSampling(nframes=4), 4096)
    loaded = data.Records(records, str(root), processor, shown)
    first = loaded.conversation(0)
    frames = loaded.frames(first)
    kinds = expected.get("kinds", ["video"])
    user = next(message for message in first.messages if message["role"] == "user")
    assert [part.get("text", part["type"]) for part in user["content"]] == [*kinds, QUESTION]
    texts = {
        "assistant": expected.get("answers", ["left"]),
        "system": [expected["system"]] if "system" in expected else [],
    }
    for role, wanted in texts.items():
        assert [text_of(message) for message in first.messages if message["role"] == role] == wanted
    assert "names" not in expected or [item.name for item in first.media] == expected["names"]
    if kinds == ["video"]:
        shades, times = expected.get("shades", WHOLE[0]), expected.get("times", WHOLE[1])
        found = frames[0].pixels.float().mean(dim=(1, 2, 3)) / 20
        assert found.tolist() == pytest.approx(shades, abs=0.3)
        assert frames[0].timestamps == pytest.approx(times)
    assert len(loaded[0].input_ids) > 0


def test_a_packed_folder_of_media_next_to_the_annotations_is_read(
    root: Path, planned: Callable[[Path], list[Record]], media: Path
) -> None:
    (root / "videos").unlink()
    with tarfile.open(root / "videos.tar.gz", "w:gz") as tar:
        tar.add(media / "videos", "videos")
    write(root, [clip(0), clip(1)])
    assert blocking(planned(root)) == []


# --- warned of ---


@pytest.mark.slow
def test_misspelt_keys_unread_keys_and_mixed_formats_are_named(
    root: Path, planned: Callable[[Path], list[Record]]
) -> None:
    other = clip(1, conversations=said({"type": "text", "text": ""}), converstaions=[])
    write(root, [clip(0, source="lab"), {**other, "vidoe_end": 1}])
    found = {each["code"]: each for each in planned(root)}
    assert found["keys_misspelt"]["severity"] == "warning"
    assert found["keys_misspelt"]["evidence"]["keys"] == {"vidoe_end": "video_end"}
    assert "did you mean video_end?" in found["keys_misspelt"]["message"]
    assert found["keys_not_read"]["severity"] == "info"
    assert found["keys_not_read"]["evidence"]["keys"] == {"source": 1, "converstaions": 1}
    assert found["formats_mixed"]["evidence"]["first"] == {"from/value": 0, "role/content": 1}
