"""evaluate: word and character errors of the converted model on the test clips, heard by the runtime that serves it."""
