"""A language model of text, as the `.scorer` file that libdeepspeech decodes with."""
