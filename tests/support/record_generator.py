"""Generates annotation records of all formats, sound and mutated, from a seed."""

import copy
import random
from typing import Any

TEXTS = ["Which?", "left", "Yes, it does.", "链接 ok", "e\u0301", " padded ", "a\nb", "<answer>A</answer>", "2 < 3 | x"]
BROKEN_TEXTS = ["", "  ", "<|im_end|>", "a<|im_start|>user\n", "\ud83d", "a\0b", "<video>", "<image>", "<|video_pad|>"]
CLIPS = ["a.mp4", "videos/b.mp4", "./c.MP4", "d"]
IMAGES = ["a.png", "images/b.jpg", "c.webp"]
BROKEN_NAMES = ["", None, 7, ["a.mp4"], {}, "https://x/a.mp4", "data:image/png;base64,AA", "C:\\a.mp4", "x" * 300, "\0"]
RATES = [4, 29.97, "30000/1001", "25"]
BROKEN_RATES = ["fast", 0, -1, True, [4], 10**400, 1e-300, None, float("inf")]
VALUES = [None, True, 0, -1, 1.5, "", "x", [], {}, [None], ["x"], [[]], [{}], {"url": 1}, 10**300, "<video>", "\ud83d"]


class Generator:
    """Records one after the other; half of them have one or two mutations."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def record(self) -> Any:
        """Return the next record."""
        record: Any = self._sound()
        for _ in range(self._random.choice([0, 0, 1, 1, 2])):
            record = self._mutated(record)
        return record

    def _pick(self, values: Any) -> Any:
        return copy.deepcopy(self._random.choice(values))

    def _sound(self) -> dict[str, Any]:
        kind = self._pick(["none", "video", "video", "image", "two images", "frames"])
        named = self._named(kind)
        times = {"video_fps": self._pick(RATES)} if kind in ("video", "frames") else {}
        if times and self._random.random() < 0.2:
            times |= {self._pick(["video_start", "start"]): 0.5, "video_end": self._pick([1, 2.5])}
        if kind == "frames" and not times.keys() - {"video_fps"} and self._random.random() < 0.5:
            times |= self._pick([{"sample_fps": 2}, {"frames_indices": [0, 5, 9]}])
        style = self._pick(["llava", "llava", "content", "parts", "columns"])
        record = {"id": self._random.randrange(10**6), **times}
        if self._random.random() < 0.3:
            record["system"] = self._pick([*TEXTS, ""])
        return {**record, **getattr(self, f"_{style}")(kind, named)}

    def _named(self, kind: str) -> dict[str, Any]:
        if kind == "video":
            return self._pick([{"video": self._pick(CLIPS)}, {"videos": [self._pick(CLIPS)]}])
        if kind == "image":
            return self._pick([{"image": self._pick(IMAGES)}, {"images": [self._pick(IMAGES)]}])
        if kind == "two images":
            return {"images": [self._pick(IMAGES), self._pick(IMAGES)]}
        return {"video": [f"f{number}.jpg" for number in range(3)]} if kind == "frames" else {}

    def _question(self, kind: str) -> str:
        marker = {"none": "", "video": "<video>", "frames": "<video>", "image": "<image>", "two images": "<image>"}[
            kind
        ]
        if kind == "video":
            marker = self._pick([marker, "<image>"])
        if kind == "two images":
            marker = self._pick([marker, "<image><image>"])
        return self._pick([marker, f"{marker}\n", ""]) + self._pick(TEXTS)

    def _turns(self, first: Any, role: str, text: str, roles: tuple[str, str]) -> list[dict[str, Any]]:
        turns = [{role: roles[0], text: first}, {role: roles[1], text: self._pick(TEXTS)}]
        for _ in range(self._pick([0, 0, 1, 3])):
            turns += [{role: roles[0], text: self._pick(TEXTS)}, {role: roles[1], text: self._pick(TEXTS)}]
        if self._random.random() < 0.1:
            turns.append({role: roles[0], text: self._pick(TEXTS)})
        return turns

    def _llava(self, kind: str, named: dict[str, Any]) -> dict[str, Any]:
        return {**named, "conversations": self._turns(self._question(kind), "from", "value", ("human", "gpt"))}

    def _content(self, kind: str, named: dict[str, Any]) -> dict[str, Any]:
        key = self._pick(["messages", "conversations"])
        return {**named, key: self._turns(self._question(kind), "role", "content", ("user", "assistant"))}

    def _parts(self, kind: str, named: dict[str, Any]) -> dict[str, Any]:
        parts = []
        for key, value in named.items():
            medium = key.rstrip("s")
            values = value if isinstance(value, list) and kind != "frames" else [value]
            for each in values:
                address = isinstance(each, str) and self._random.random() < 0.3
                parts.append(
                    {"type": f"{medium}_url", f"{medium}_url": {"url": each}}
                    if address
                    else {"type": medium, medium: each}
                )
        parts.append({"type": self._pick(["text", "input_text"]), "text": self._pick(TEXTS)})
        outside = named if self._random.random() < 0.3 else {}
        return {**outside, "messages": self._turns(parts, "role", "content", ("user", "assistant"))}

    def _columns(self, kind: str, named: dict[str, Any]) -> dict[str, Any]:
        return {**named, "question": self._question(kind), "answer": self._pick(TEXTS)}

    def _mutated(self, record: Any) -> Any:
        """Return the record with a value at some place replaced, removed, doubled or renamed."""
        if not isinstance(record, dict) or self._random.random() < 0.02:
            return self._pick(VALUES)
        places = list(_places(record))
        if not places:
            return record
        holder, key = self._random.choice(places)
        action = self._pick(["value", "text", "name", "rate", "remove", "double", "rename"])
        pools = {"value": VALUES, "text": BROKEN_TEXTS, "name": [*BROKEN_NAMES, *CLIPS, *IMAGES], "rate": BROKEN_RATES}
        if action in pools:
            holder[key] = self._pick(pools[action])
        elif action == "remove":
            del holder[key]
        elif action == "double" and isinstance(holder, list):
            holder.insert(key, holder[key])
        elif isinstance(holder, dict):
            holder[self._pick(["vidoe_fps", "from", "role", "value", "content", "image", "video", "start"])] = (
                holder.pop(key)
            )
        return record


def _places(value: Any) -> Any:
    keys = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])
