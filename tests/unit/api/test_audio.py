"""Frames of clips and of transcripts."""

import pytest
from speechmodel_api.audio import frame_count, frames_needed


@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (511, 1), (512, 2), (831, 2), (832, 3), (16000, 50)])
def test_a_clip_has_one_frame_more_than_full_windows(samples: int, frames: int) -> None:
    assert frame_count(samples) == frames


@pytest.mark.parametrize(("transcript", "frames"), [("", 0), ("ola", 3), ("llama", 6), ("aaa", 5)])
def test_equal_neighbours_need_a_frame_between_them(transcript: str, frames: int) -> None:
    assert frames_needed(transcript) == frames
