"""The transcription server: it serves one published version in OpenAI's wire format."""
