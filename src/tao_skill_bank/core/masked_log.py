"""Masks credentials in text as it comes, of any length, in constant memory: exactly as `Masker` does line by line."""

from collections.abc import Iterable, Iterator

from tao_skill_bank.core.prefilter import Prefilter
from tao_skill_bank.core.redact import MASK, Masker

LONG_LINE_BYTES = 64 * 1024
NUM_CUTS = 16
SEPARATORS = b" \t\r,;"


def masked_log(pieces: Iterable[str], masker: Masker | None = None, long_line: int = LONG_LINE_BYTES) -> Iterator[str]:
    """Yield text, given in any pieces, with its credentials masked; the last line ends in a line end in any case.

    Only lines on which a rule may match are given to the masker. A line longer than `long_line` bytes is masked piece
    by piece, cut where this changes nothing as far as half of `long_line` ahead shows. A credential that does not end
    by then hides the remainder of its line.
    """
    text = _Text(masker or Masker(), long_line)
    for piece in pieces:
        if shown := text.feed(piece.encode("utf-8", "replace")):
            yield shown
    if shown := text.end():
        yield shown


class _Text:
    def __init__(self, masker: Masker, long_line: int) -> None:
        self._masker = masker
        self._prefilter = Prefilter(masker.patterns)
        self._long_line, self._ahead = long_line, long_line // 2
        self._rest = b""  # of the last line, which has not ended yet
        self._is_within = False  # the rest continues a line whose start was returned
        self._is_hidden = False  # the credential that hides the rest of the line has been returned as a mask

    def feed(self, block: bytes) -> str:
        """Return what can be shown after another block; the end of a line that has not ended is kept."""
        text = self._rest + block
        shown = []
        if self._is_within and (end := text.find(b"\n")) >= 0:
            shown += [*self._pieces(text[:end]), self._last_piece(), "\n"]
            text = text[end + 1 :]
        end = text.rfind(b"\n") + 1
        if end:
            shown += self._lines(text[:end])
        self._rest = text[end:]
        shown += self._pieces(self._rest)
        return "".join(shown)

    def end(self) -> str:
        """Return the last line if it has no line end, with one."""
        if not self._rest and not self._is_within:
            return ""
        return f"{self._last_piece()}\n"

    def _lines(self, block: bytes) -> Iterator[str]:
        """Yield whole lines, masked."""
        position = 0
        while position < len(block):
            found = position if self._masker.awaits_more else self._prefilter.find(block, position)
            if found < 0:
                break
            start = block.rfind(b"\n", position, found) + 1 or position
            yield _decoded(block[position:start])
            position = block.index(b"\n", start) + 1
            line = block[start : position - 1]
            if len(line) > self._long_line:
                yield from self._pieces(line)
                yield f"{self._last_piece()}\n"
            else:
                yield f"{self._masker(_decoded(line))}\n"
        yield _decoded(block[position:])

    def _pieces(self, line: bytes) -> Iterator[str]:
        """Yield what can be shown of a long line that has not ended; the remainder is kept."""
        self._rest = line
        while len(self._rest) > self._long_line:
            self._is_within = True
            piece, length = self._next_piece(self._rest)
            self._rest = self._rest[length:]
            yield piece

    def _last_piece(self) -> str:
        last = self._masker(_decoded(self._rest)) if self._rest or not self._is_within else ""
        shown = "" if self._is_hidden else last
        self._rest, self._is_within, self._is_hidden = b"", False, False
        return shown

    def _next_piece(self, line: bytes) -> tuple[str, int]:
        """Return the next piece of a long line, masked, and how many of its bytes that is."""
        if self._is_hidden:
            length = _cut(line, len(line) - self._ahead)
            self._masker(_decoded(line[:length]))
            return "", length
        found = 0 if self._masker.awaits_more else self._prefilter.find(line)
        if found < 0 or found > self._ahead:  # nothing is masked there; what precedes a match may belong to it
            length = _cut(line, len(line) - self._ahead if found < 0 else found - self._ahead // 2)
            return _decoded(line[:length]), length
        return self._exact_piece(line[: _boundary(line, self._long_line)])

    def _exact_piece(self, window: bytes) -> tuple[str, int]:
        after, as_a_whole = _after(self._masker, window)
        for share in range(NUM_CUTS, 0, -1):
            length = _cut(window, self._ahead * share // NUM_CUTS)
            first, shown = _after(self._masker, window[:length])
            second, remainder = _after(first, window[length:])
            if length and shown + remainder == as_a_whole and second.state == after.state:
                self._masker = first
                return shown, length
        self._masker, self._is_hidden = after, True
        return as_a_whole if as_a_whole.endswith(MASK) else as_a_whole + MASK, len(window)


def _after(masker: Masker, piece: bytes) -> tuple[Masker, str]:
    """Return the masker as it is after a piece, and the piece masked; the given masker stays as it is."""
    after = masker.copy()
    return after, after(_decoded(piece))


def _cut(line: bytes, end: int) -> int:
    """Return where to cut a line at or before `end`: before a separator in the last eighth, else within a word."""
    start = end - end // 8
    near = max(line.rfind(bytes([separator]), start, end) for separator in SEPARATORS)
    return near if near > 0 else _boundary(line, end)


def _boundary(line: bytes, end: int) -> int:
    """Return the start of the UTF-8 character that `end` lies in."""
    for position in range(end, max(end - 4, 0), -1):
        if position >= len(line) or line[position] & 0xC0 != 0x80:
            return position
    return end


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "replace")
