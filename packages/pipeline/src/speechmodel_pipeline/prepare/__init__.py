"""prepare: a folder of recordings and transcripts -> a dataset of 16 kHz mono 16-bit clips in three parts.

    commands_csv.py    original/<language>/ + commands.csv      \\
    deepspeech_csv.py  train.csv, dev.csv, test.csv             /  -> samples: one recording and what is said in it
    transcripts.py     what was written -> what is trained, by rule
    clips.py           any recording -> a clip of 16 kHz, mono, 16 bit
    split.py           which part a clip belongs to
    report.py          what was left out or changed, and why
    stage.py           the order in which all this happens
"""
