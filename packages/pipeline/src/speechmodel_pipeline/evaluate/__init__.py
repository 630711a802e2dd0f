"""evaluate: word and character errors of the converted model on the test clips, by the runtime that
serves it.
"""
