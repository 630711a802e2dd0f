"""Written text -> text as it is trained, shared by prepare, the language model and the server, which checks takes.

normalise.py       a transcript as given -> as it is trained, by rule
settings.py        the same by the settings of a dataset
phrases.py         phrases, intents and lists of `decoding`, normalised as transcripts are
scripts.py         letters of another script that look alike
variants.py        letters that a language writes in several ways
elision.py         words that are joined to the next one by an apostrophe
numbers.py         numbers spelled as words
rejections.py      the reasons for leaving out a transcript or a recording
"""
