from fractions import Fraction

import av
import media_pool
import numpy as np
import pytest

from tao_skill_bank.data.media import header, mpeg4

ASPECTS = [None, Fraction(1), Fraction(12, 11), Fraction(16, 11), Fraction(4, 3), Fraction(37, 23)]


@pytest.mark.parametrize("hides_aspect", [True, False])
@pytest.mark.parametrize("size", [(64, 96), (182, 322)])
@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_clip_is_read_as_ffmpeg_reads_it(tmp_path, aspect, size, hides_aspect):
    frames = [np.full((*size, 3), 90, np.uint8)] * 3
    path = media_pool.clip(tmp_path / "a.mp4", frames, codec="mpeg4", aspect=aspect)
    if hides_aspect:
        path.write_bytes(path.read_bytes().replace(b"pasp", b"free"))
    without_decoding = header._clip(path, header.CONTAINER_ONLY)
    assert without_decoding is not None
    assert without_decoding == header._clip(path, {})
    assert without_decoding.width == round(size[1] * (aspect or 1))


def test_parameters_that_end_early_say_nothing(tmp_path):
    with av.open(str(media_pool.clip(tmp_path / "a.mp4", codec="mpeg4"))) as container:
        configuration = container.streams.video[0].codec_context.extradata
    assert mpeg4.frame_size(configuration) == (96, 64, 1)
    start = mpeg4.LAYER.search(configuration).end()
    assert all(mpeg4.frame_size(configuration[:length]) is None for length in range(start + 9))


def test_a_layer_with_a_version_is_read_past_it():
    fields = ["0" * 9, "1", "0001001", "0010", "1", "010", "1", "0" * 79, "00", "1", f"{25:016b}", "1", "1", "00000"]
    bits = "".join([*fields, "1", f"{320:013b}", "1", f"{240:013b}", "1"])
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8))
    assert mpeg4.frame_size(b"\0\0\1\x20" + data) == (320, 240, Fraction(12, 11))
