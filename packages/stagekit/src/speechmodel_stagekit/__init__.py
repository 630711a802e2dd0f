"""The frame of every stage program: input, result, exit codes, artefact folders, the alphabet.

Standard library and speechmodel_api only, so that it costs an image nothing.
"""
