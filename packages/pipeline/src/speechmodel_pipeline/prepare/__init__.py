"""prepare: recordings and transcripts -> a dataset of 16 kHz mono 16-bit clips in three parts.

    commands_csv.py    original/<language>/ + commands.csv      \\
    deepspeech_csv.py  train.csv, dev.csv, test.csv             /  -> recordings with their transcripts
    table.py           CSV files as people and spreadsheets write them
    audio_files.py     the recordings in a folder
    transcripts.py     a transcript as given -> as it is trained, by rule
    scripts.py         letters of another script that look alike
    numbers.py         numbers spelled as words
    clips.py           any recording -> a clip of 16 kHz, mono, 16 bit
    split.py           the part of each clip
    folder.py          the files of the dataset, and its digest
    report.py          the rows that were left out or changed, and why
    stage.py           the whole stage
"""
