"""The transcription server: one published version, OpenAI's wire format, ready only when it heard its self-test clip."""
