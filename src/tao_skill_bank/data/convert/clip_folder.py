"""Writes episodes as captioned clips: `videos/NAME.mp4` and `metas/NAME.txt`, per split."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tao_skill_bank.data.convert import cutting
from tao_skill_bank.data.convert.notes import Notes
from tao_skill_bank.data.convert.values import Episode, Options, RawRecord
from tao_skill_bank.errors import BlockedError

TASK = "{task}"


def write(episodes: Sequence[Episode], folder: Path, notes: Notes) -> None:
    """Cut every episode into `videos/NAME.mp4` of its split. Raises BlockedError before the first cut if any cannot be.

    A decoder's error while cutting is noted.
    """
    frames = [_frames(episode, notes) for episode in episodes]
    notes.raise_problems()
    for episode, positions in zip(episodes, frames, strict=True):
        target = folder / name_of(episode)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            cutting.cut(episode, positions, target)
        except BlockedError as error:
            notes.add(error.problems)
        except (OSError, ValueError) as error:
            _note(episode, error, notes)


def write_captions(episodes: Sequence[Episode], folder: Path) -> None:
    """Write the caption of every episode into `metas/NAME.txt` of its split."""
    for episode in episodes:
        caption = folder / episode.split / "metas" / f"{episode.name}.txt"
        caption.parent.mkdir(parents=True, exist_ok=True)
        caption.write_text(f"{episode.caption}\n", encoding="utf-8")


def as_records(episodes: Sequence[Episode], options: Options) -> Iterator[RawRecord]:
    """Yield the record of every episode by the templates of the user."""
    counts: dict[str, int] = {}
    for episode in episodes:
        index = counts[episode.split] = counts.get(episode.split, -1) + 1
        texts = (text.replace(TASK, episode.caption) for text in (options.question, options.answer))
        turns = [{"from": role, "value": text} for role, text in zip(("human", "gpt"), texts, strict=True)]
        name = f"videos/{episode.name}.mp4"
        raw = {"id": episode.name, "video": name, "video_fps": episode.rate, "conversations": turns}
        yield RawRecord(raw, index, episode.name, episode.split, {name: None})


def name_of(episode: Episode) -> str:
    """Return the path of a clip in the result."""
    return str(Path(episode.split, "videos", f"{episode.name}.mp4"))


def _frames(episode: Episode, notes: Notes) -> range:
    try:
        return cutting.frames_of(episode)
    except BlockedError as error:
        notes.add(error.problems)
    except ValueError as error:
        _note(episode, error, notes)
    return range(0)


def _note(episode: Episode, error: Exception, notes: Notes) -> None:
    message = f"{episode.name} cannot be cut from {episode.video}: {error}."
    fix = "Download or write the video again so that it agrees with the dataset's tables."
    notes.problem("episode_unusable", message, fix, str(episode.video))
