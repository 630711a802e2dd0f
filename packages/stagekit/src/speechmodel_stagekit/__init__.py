"""The frame of every stage program: input, result, exit codes, finished folders, the prepared
dataset.

It needs the standard library and speechmodel_api only, so every image can have it.
"""
