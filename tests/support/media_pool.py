"""Sound and broken media files, made by PyAV and Pillow."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

Pixels = np.ndarray
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "white": (235, 235, 235)}


def corners(height: int = 64, width: int = 96) -> Pixels:
    """Return a picture with another colour in each corner: red, green, blue, white from the upper left clockwise."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    half = (height // 2, width // 2)
    pixels[: half[0], : half[1]] = COLOURS["red"]
    pixels[: half[0], half[1] :] = COLOURS["green"]
    pixels[half[0] :, half[1] :] = COLOURS["blue"]
    pixels[half[0] :, : half[1]] = COLOURS["white"]
    return pixels


def clip(
    path: Path,
    frames: Sequence[Pixels] | None = None,
    *,
    codec: str = "libx264",
    times: Sequence[int] | None = None,
    rate: int = 10,
    options: dict[str, str] | None = None,
    aspect: Fraction | None = None,
    is_index_first: bool = False,
) -> Path:
    """Write a clip; `times` are the frames' presentation times in hundredths of a second."""
    frames = [numbered(index) for index in range(20)] if frames is None else frames
    with av.open(str(path), "w", options={"movflags": "faststart"} if is_index_first else {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 100)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[index], Fraction(1, 100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbered(index: int, size: tuple[int, int] = (64, 96)) -> Pixels:
    """Return a grey frame whose brightness is its number: `number_of` reads it."""
    return np.full((*size, 3), 20 + 10 * index, np.uint8)


def number_of(pixels: Pixels) -> int:
    return round((float(pixels.mean()) - 20) / 10)


def with_matrix(path: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Set the a, b, c, d of the video track's display matrix in an MP4 file."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def trimmed(source: Path, target: Path, start_seconds: float) -> Path:
    """Copy packets from the key frame before a time; an edit list hides those before the time."""
    with av.open(str(source)) as given, av.open(str(target), "w") as container:
        stream = given.streams.video[0]
        copied = container.add_stream_from_template(stream)
        given.seek(int(start_seconds / stream.time_base), stream=stream)
        shift = round(start_seconds / stream.time_base)
        for packet in given.demux(stream):
            if packet.size:
                packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, copied
                container.mux(packet)
    return target


def _bytes(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _noise(height: int = 64, width: int = 96) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def _half_of(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _moov_first_and_cut(path: Path) -> None:
    noise = [np.asarray(_noise()) for _ in range(30)]
    clip(path, noise, options={"g": "1"}, is_index_first=True)
    with av.open(str(path), "r") as container:
        packets = [packet.pos for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: packets[15]])


def _declared_size(path: Path) -> None:
    """A PNG of a few bytes that declares 192 million pixels."""
    data = bytearray(_bytes(Image.new("L", (8, 8)), "PNG"))
    struct.pack_into(">II", data, 16, 16_000, 12_000)
    struct.pack_into(">I", data, 29, zlib.crc32(data[12:29]))
    path.write_bytes(data)


def exif(orientation: int) -> bytes:
    """Return EXIF data with an orientation."""
    data = Image.Exif()
    data[0x0112] = orientation
    return data.tobytes()


def _tilted(path: Path) -> None:
    clip(path)
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 40
    half = 46341  # the cosine of 45 degrees
    struct.pack_into(">9i", data, start, half, half, 0, -half, half, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


SOUND_VIDEOS: dict[str, Callable[[Path], object]] = {
    "plain.mp4": clip,
    "b_frames.mp4": lambda path: clip(path, options={"bf": "3", "g": "12"}),
    "mpeg4.avi": lambda path: clip(path, codec="mpeg4"),
    "b_frames.avi": lambda path: clip(path, options={"bf": "2"}),
    "matroska.mkv": clip,
    "vp9.webm": lambda path: clip(path, codec="libvpx-vp9"),
    "stream.ts": clip,
    "rotated.mp4": lambda path: with_matrix(clip(path), (0, 1, -1, 0)),
    "variable.mp4": lambda path: clip(path, times=[0, 10, 20, 70, 80, 160, 170, 300, 310, 320, *range(330, 430, 10)]),
    "wide_pixels.mp4": lambda path: clip(path, aspect=Fraction(4, 3)),
    "named_wrongly.txt": lambda path: path.write_bytes(clip(path.with_suffix(".mp4")).read_bytes()),
}
BROKEN_VIDEOS: dict[str, Callable[[Path], object]] = {
    "missing.mp4": lambda _: None,
    "empty.mp4": lambda path: path.write_bytes(b""),
    "pointer.mp4": lambda path: path.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    ),
    "hls.mp4": lambda path: path.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nplain.mp4\n#EXT-X-ENDLIST\n"
    ),
    "concat.mp4": lambda path: path.write_text("ffconcat version 1.0\nfile plain.mp4\n"),
    "page.mp4": lambda path: path.write_text("<!DOCTYPE html><html><body>Sign in</body></html>"),
    "utf16.mp4": lambda path: path.write_bytes("not a clip".encode("utf-16")),
    "half_copied.mp4": lambda path: _half_of(clip(path)),
    "cut_short.mp4": _moov_first_and_cut,
    "noise.mp4": lambda path: path.write_bytes(bytes(range(256)) * 8),
    "picture.mp4": lambda path: path.write_bytes(_bytes(_noise(), "PNG")),
    "narrow.mp4": lambda path: clip(path, [np.zeros((2, 602, 3), np.uint8)] * 4),
    "tilted.mp4": _tilted,
}
SOUND_IMAGES: dict[str, Callable[[Path], object]] = {
    "plain.jpg": lambda path: _noise().save(path),
    "plain.png": lambda path: _noise().save(path),
    "plain.webp": lambda path: _noise().save(path),
    "plain.gif": lambda path: _noise().save(path),
    "plain.bmp": lambda path: _noise().save(path),
    "plain.tiff": lambda path: _noise().save(path),
    "ascii.ppm": lambda path: path.write_text("P3\n2 2\n255\n255 0 0  0 255 0\n0 0 255  9 9 9\n"),
    "cmyk.jpg": lambda path: _noise().convert("CMYK").save(path),
    "alpha.png": lambda path: Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(path),
    "grey_16.png": lambda path: Image.fromarray(np.full((8, 8), 51400, np.uint16)).save(path),
    "float.tiff": lambda path: Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(path),
    "animated.webp": lambda path: _noise().save(path, save_all=True, append_images=[Image.new("RGB", (96, 64))]),
    "upside_down.jpg": lambda path: _noise().save(path, exif=exif(3)),
    "jpeg_named.png": lambda path: path.write_bytes(_bytes(_noise(), "JPEG")),
}
BROKEN_IMAGES: dict[str, Callable[[Path], object]] = {
    "missing.png": lambda _: None,
    "empty.png": lambda path: path.write_bytes(b""),
    "pointer.png": BROKEN_VIDEOS["pointer.mp4"],
    "page.jpg": BROKEN_VIDEOS["page.mp4"],
    "drawing.svg": lambda path: path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'),
    "cut_short.jpg": lambda path: path.write_bytes(_bytes(_noise(), "JPEG")[:-500]),
    "cut_short.png": lambda path: path.write_bytes(_bytes(_noise(), "PNG")[:-500]),
    "cut_short.webp": lambda path: path.write_bytes(_bytes(_noise(), "WEBP")[:-500]),
    "bomb.png": _declared_size,
    "narrow.png": lambda path: Image.new("L", (3000, 10)).save(path),
    "nan.tiff": lambda path: Image.fromarray(np.full((8, 8), np.nan, np.float32)).save(path),
    "metres.tiff": lambda path: Image.fromarray(np.full((8, 8), 17.5, np.float32)).save(path),
    "clip.png": lambda path: path.write_bytes(clip(path.with_suffix(".mp4")).read_bytes()),
    "noise.png": lambda path: path.write_bytes(bytes(range(256)) * 8),
}
