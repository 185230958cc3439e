from fractions import Fraction

import av
import media_pool
import numpy as np
import pytest

from tao_skill_bank.data.media import h264, header


def without_pixel_aspect_box(path):
    """Rename the box, so that only the track's parameters say the shape of a pixel."""
    path.write_bytes(path.read_bytes().replace(b"pasp", b"free"))
    return path


def write(path, size=(96, 64), aspect=None, pixel_format="yuv420p", **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options=options)
        (stream.width, stream.height), stream.pix_fmt = size, pixel_format
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for shade in (40, 90):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), shade, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("aspect", [None, Fraction(1), Fraction(4, 3), Fraction(16, 11), Fraction(37, 23)])
@pytest.mark.parametrize("size", [(96, 64), (322, 182)])
@pytest.mark.parametrize(
    ("pixel_format", "options"),
    [("yuv420p", {}), ("yuv422p", {"x264-params": "interlaced=1"}), ("yuv444p", {"x264-params": "cqm=jvt"})],
)
def test_a_clip_without_a_stated_pixel_aspect_is_read_as_ffmpeg_reads_it(tmp_path, aspect, size, pixel_format, options):
    path = without_pixel_aspect_box(write(tmp_path / "a.mp4", size, aspect, pixel_format, **options))
    without_decoding = header._clip(path, header.CONTAINER_ONLY)
    assert without_decoding is not None
    assert without_decoding == header._clip(path, {})


def test_the_parameters_of_a_clip_say_its_size(tmp_path):
    with av.open(str(media_pool.clip(tmp_path / "a.mp4", aspect=Fraction(4, 3)))) as container:
        configuration = container.streams.video[0].codec_context.extradata
    assert h264.frame_size(configuration) == (96, 64, Fraction(4, 3))
    for length in range(len(configuration) - 10):
        h264.frame_size(configuration[:length])  # whatever it says, it does not fail
    assert h264.frame_size(configuration[:12]) is None
    assert h264.frame_size(b"\0\0\0\1" + configuration[8:]) is None
