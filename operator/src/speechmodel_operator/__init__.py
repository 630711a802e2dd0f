"""The SpeechModel operator. See docs/architecture.md."""
