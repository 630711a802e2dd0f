"""prepare: recordings and transcripts -> a dataset of 16 kHz mono 16-bit clips in three parts.

formats.py         the readers of all formats: a folder -> recordings with their transcripts
                   (commands_csv.py, deepspeech_csv.py, common_voice.py, librispeech.py,
                   audio_folder.py, kaldi.py)
named_files.py     the recordings of tables that name the file of each row
table.py           tables as people, spreadsheets and other toolkits write them
audio_files.py     the recordings in a folder
clips.py           any recording -> a clip of 16 kHz, mono, 16 bit
split.py           the part of each clip
folder.py          the files of the dataset, and its digest
report.py          the rows that were left out or changed, and why
stage.py           the whole stage
"""
