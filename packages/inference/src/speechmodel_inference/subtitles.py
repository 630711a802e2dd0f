"""The segments of a transcript as subtitles: SubRip (srt) and WebVTT."""

from speechmodel_inference.transcribing import Segment, Transcript


def as_srt(transcript: Transcript) -> str:
    """Return the segments with text as a SubRip file."""
    cues = (
        f"{number}\n{_cue(segment, decimal=',')}\n"
        for number, segment in enumerate((each for each in transcript.segments if each.text), start=1)
    )
    return "\n".join(cues)


def as_vtt(transcript: Transcript) -> str:
    """Return the segments with text as a WebVTT file."""
    return "\n".join(["WEBVTT\n", *(f"{_cue(each, decimal='.')}\n" for each in transcript.segments if each.text)])


def _cue(segment: Segment, *, decimal: str) -> str:
    times = f"{_time(segment.start_seconds, decimal)} --> {_time(segment.end_seconds, decimal)}"
    return f"{times}\n{segment.text}"


def _time(seconds: float, decimal: str) -> str:
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600:02}:{whole // 60 % 60:02}:{whole % 60:02}{decimal}{milliseconds:03}"
