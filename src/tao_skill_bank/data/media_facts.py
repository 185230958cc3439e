"""What is said of the media of a dataset that can be read: clips too short, other rates than declared, and the like."""

from dataclasses import dataclass, field

from tao_skill_bank.contracts import Finding
from tao_skill_bank.core.findings import MAX_LISTED, blocking, info, listed, warning

RATE_TOLERANCE = 0.01  # 29.97 declared as 30 is within it, 25 declared as 24 is not


@dataclass
class MediaFacts:
    """Collects what is to be said, by the names of the files; of a file that is added twice the last word counts.

    Attributes:
        num_frames: frames that are asked of a clip; None for no number.

    """

    num_frames: int | None = None
    _short: dict[str, int] = field(default_factory=dict)
    _off: dict[str, dict[str, float]] = field(default_factory=dict)
    _uneven: dict[str, None] = field(default_factory=dict)
    _animated: dict[str, None] = field(default_factory=dict)

    def add_clip(self, name: str, num_frames: int, rate: float, declared: float | None, *, is_variable: bool) -> None:
        """Take in a clip.

        Args:
            name: what records call it.
            num_frames: those that it shows.
            rate: frames per second of its container; 0 if unknown.
            declared: frames per second of its record; None or 0 if not given.
            is_variable: its frames have times of their own, so that no rate counts.

        """
        if self.num_frames and num_frames < self.num_frames:
            self._short[name] = num_frames
        if is_variable:
            self._uneven[name] = None
        elif declared and rate and abs(declared - rate) > RATE_TOLERANCE * rate:
            self._off[name] = {"declared": round(declared, 3), "container": round(rate, 3)}

    def add_picture(self, name: str, *, is_animated: bool) -> None:
        """Take in a picture."""
        if is_animated:
            self._animated[name] = None

    def findings(self, where: str) -> list[Finding]:
        """Return one finding per fact, on the annotations `where`."""
        return [*self._too_short(where), *self._other_rate(where), *self._variable(where), *self._moving(where)]

    def _too_short(self, where: str) -> list[Finding]:
        if not self._short:
            return []
        first = dict(list(self._short.items())[:MAX_LISTED])
        shown = listed([f"{name} ({frames})" for name, frames in first.items()], len(self._short))
        message = f"Clips of {where} have fewer frames than the {self.num_frames} that are asked for: {shown}."
        largest = min(self._short.values())
        fix = f"Ask for at most {largest} frames, sample by fps instead, or drop the clips."
        evidence = {"frames": first, "count": len(self._short), "largest": largest}
        return [blocking("media_too_short", message, fix, where, **evidence)]

    def _other_rate(self, where: str) -> list[Finding]:
        if not self._off:
            return []
        first = dict(list(self._off.items())[:MAX_LISTED])
        said = [f"{name} ({rate['declared']:g}, container {rate['container']:g})" for name, rate in first.items()]
        shown = listed(said, len(self._off))
        message = f"Clips of {where} declare another video_fps than their container: {shown}."
        fix = "Write the container's rate into video_fps, or keep it when the container is wrong."
        return [warning("video_fps_differs", message, fix, where, files=first, count=len(self._off))]

    def _variable(self, where: str) -> list[Finding]:
        if not self._uneven:
            return []
        first, count = list(self._uneven)[:MAX_LISTED], len(self._uneven)
        message = (
            f"Clips of {where} have a variable frame rate: {listed(first, count)}. Their frames' own times are used, "
            "and video_fps of their records is not."
        )
        return [info("media_variable_rate", message, where, files=first, count=count)]

    def _moving(self, where: str) -> list[Finding]:
        if not self._animated:
            return []
        first, count = list(self._animated)[:MAX_LISTED], len(self._animated)
        shown = listed(first, count)
        message = f"Pictures of {where} have several frames, of which only the first is shown: {shown}."
        fix = "To show all of them, convert them to clips (ffmpeg -i IN OUT.mp4) and name them under `video`."
        return [warning("media_animated", message, fix, where, files=first, count=count)]
