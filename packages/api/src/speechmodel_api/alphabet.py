"""The label for speech and sound that is not part of any transcript."""

CATCH_ALL = "\ue000"
"""Label that a model emits for everything but its own transcripts: other people's speech, music,
noise. Training adds it after the alphabet of the transcripts when there are negatives. It is a
private use character of Unicode, so it occurs in no language and changes under no normal form.
Free text never shows it."""
