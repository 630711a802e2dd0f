"""The SpeechModel operator, its local engine and its command line: see docs/architecture.md."""
