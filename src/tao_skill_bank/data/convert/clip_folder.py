"""Writes episodes as captioned clips: `videos/NAME.mp4` and `metas/NAME.txt`, per split."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tao_skill_bank.data.convert import cutting
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Episode, Options, RawRecord

TASK = "{task}"


def write(episodes: Sequence[Episode], folder: Path, notes: Notes) -> None:
    """Cut every episode and write its caption."""
    for episode in episodes:
        if cut(episode, folder, notes):
            caption = folder / episode.split / "metas" / f"{episode.name}.txt"
            caption.parent.mkdir(exist_ok=True)
            caption.write_text(f"{episode.caption}\n", encoding="utf-8")


def cut(episode: Episode, folder: Path, notes: Notes) -> bool:
    """Cut an episode into `videos/NAME.mp4` of its split; return whether that worked."""
    target = folder / episode.split / "videos" / f"{episode.name}.mp4"
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        cutting.cut(episode, target)
    except ValueError as error:
        message = f"{episode.name} cannot be cut from {episode.video}: {error}."
        fix = "Download or write the video again so that it agrees with the dataset's tables."
        notes.problem("episode_unusable", message, fix, str(episode.video))
        return False
    return True


def as_records(episodes: Sequence[Episode], folder: Path, options: Options, notes: Notes) -> Iterator[RawRecord]:
    """Cut every episode and yield its record by the templates of the user."""
    counts: dict[str, int] = {}
    for episode in episodes:
        if not cut(episode, folder, notes):
            continue
        index = counts[episode.split] = counts.get(episode.split, -1) + 1
        texts = (text.replace(TASK, episode.caption) for text in (options.question, options.answer))
        turns = [{"from": role, "value": text} for role, text in zip(("human", "gpt"), texts, strict=True)]
        name = f"videos/{episode.name}.mp4"
        raw = {"id": episode.name, "video": name, "video_fps": episode.rate, "conversations": turns}
        yield RawRecord(raw, index, episode.name, episode.split, {name: None})
