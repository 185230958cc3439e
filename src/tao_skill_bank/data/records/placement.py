"""Puts the media of a record where its text marks them, and refuses what would train on something else."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from tao_skill_bank.data.records.content import WrittenPart, WrittenTurn
from tao_skill_bank.data.records.issues import Issues
from tao_skill_bank.data.records.values import Media, MediaKind, Part, Turn

MARKER = re.compile(r"<(video|image)>")
MARKERS = ("<video>", "<image>")
KINDS: tuple[MediaKind, ...] = ("video", "image")


@dataclass(frozen=True)
class Conversation:
    """The turns of a record and their media, in order of appearance."""

    turns: tuple[Turn, ...]
    media: tuple[Media, ...]


def place(written: Sequence[WrittenTurn], declared: Sequence[Media], issues: Issues) -> Conversation:
    """Return the turns with every medium in its place; `declared` are the media that no part names."""
    turns = [replace(turn, parts=_split(turn.parts)) if turn.role == "user" else turn for turn in written]
    _check_other_turns(turns, issues)
    shown = [turn for turn in turns if turn.role == "user"]
    if written:
        _assign(shown, declared, issues)
    media = [media for turn in shown for part in turn.parts for media in part.media]
    if not written or len(media) < len(declared):
        media = [*media, *(item for item in declared if item not in media)]
    return Conversation(tuple(_turn(turn) for turn in turns), tuple(item for item in media if item.name))


def _split(parts: Sequence[WrittenPart]) -> list[WrittenPart]:
    """Split texts at their markers, without the white space around these."""
    found: list[WrittenPart] = []
    for part in parts:
        pieces = MARKER.split(part.text) if part.kind == "text" else []
        if len(pieces) < 2:
            found.append(part)
            continue
        for position, piece in enumerate(pieces):  # text, kind, text, kind, ..., text
            if position % 2:
                found.append(WrittenPart(piece, place=part.place))
                continue
            text = piece.lstrip() if position else piece
            text = text.rstrip() if position < len(pieces) - 1 else text
            found.append(WrittenPart("text", text, place=part.place))
    return found


def _check_other_turns(turns: Sequence[WrittenTurn], issues: Issues) -> None:
    for turn in turns:
        code = {"assistant": "answer_with_media", "system": "system_misplaced"}.get(turn.role)
        for part in turn.parts if code else ():
            marker = next((marker for marker in MARKERS if marker in part.text), "")
            if code and (part.kind != "text" or marker):
                issues.add(code, part.place, marker or part.kind)
                break


def _assign(shown: Sequence[WrittenTurn], declared: Sequence[Media], issues: Issues) -> None:
    """Give every part of user turns its medium; without any part of a kind, its media come first."""
    parts = [part for turn in shown for part in turn.parts if part.kind != "text"]
    named = [media for part in parts for media in part.media]
    first: list[WrittenPart] = []
    left = {kind: _without([item for item in declared if item.kind == kind], named) for kind in KINDS}
    unnamed = {kind: [part for part in parts if part.kind == kind and not part.media] for kind in KINDS}
    _read_other_conventions(left, unnamed)
    for kind in KINDS:
        media, places = left[kind], unnamed[kind]
        has_places = any(part.kind == kind for part in parts)
        if media and not has_places:
            first += [WrittenPart(kind, media=[item]) for item in media]
        elif len(media) == len(places):
            for part, item in zip(places, media, strict=True):
                part.media = [item]
        elif not any(part.media for part in places):
            place = places[0].place if places else ""
            issues.add("markers_disagree", place, f"{len(places)} <{kind}> for {len(media)} {kind}s")
    if first and not shown:
        issues.add("user_turn_missing")
    elif first:
        shown[0].parts[:0] = first


def _read_other_conventions(left: dict[MediaKind, list[Media]], unnamed: dict[MediaKind, list[WrittenPart]]) -> None:
    """Read one <image> as the place of a single video (LLaVA-Video), or of exactly two images (TAO)."""
    markers = unnamed["image"]
    if len(markers) != 1 or unnamed["video"]:
        return
    if len(left["video"]) == 1 and not left["image"]:
        markers[0].kind = "video"
        markers[0].media = left["video"][:]
        left["video"].clear()
        markers.clear()
    elif len(left["image"]) == 2:
        markers[0].media = left["image"][:]
        left["image"].clear()
        markers.clear()


def _without(media: list[Media], named: Sequence[Media]) -> list[Media]:
    """Return the media of a record that no content part names again."""
    again = [item.files for item in named]
    found = []
    for item in media:
        if item.files in again:
            again.remove(item.files)
        else:
            found.append(item)
    return found


def _turn(turn: WrittenTurn) -> Turn:
    parts: list[Part] = []
    for part in turn.parts:
        if part.kind != "text":
            parts += [Part(media.kind, "") for media in part.media]
        elif parts and parts[-1].kind == "text":
            parts[-1] = Part("text", parts[-1].text + part.text)
        elif part.text or turn.role != "user":
            parts.append(Part("text", part.text))
    return Turn(turn.role, tuple(parts))
