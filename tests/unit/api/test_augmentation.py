"""`training.augmentation`: the grammar of DeepSpeech's --augment, and what is said about entries that do not follow it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from speechmodel_api.augmentation import FORM, PARAMETERS, AugmentationInvalid, ValueRange, parse
from speechmodel_api.training_spec import Training


@pytest.mark.parametrize(
    "value, start, end, radius",
    [("2", 2, 2, 0), ("2.5~0.5", 2.5, 2.5, 0.5), ("8:1", 8, 1, 0), ("8:2~1", 8, 2, 1), ("-3:-1~0.25", -3, -1, 0.25)],
)
def test_values_have_the_four_forms_of_deepspeech(value: str, start: float, end: float, radius: float) -> None:
    entry = parse(f"overlay[p=0.25,snr={value}]")
    assert (entry.name, entry.probability, entry.parameters["snr"]) == (
        "overlay",
        ValueRange(0.25, 0.25),
        ValueRange(start, end, radius),
    )


def test_without_parameters_an_augmentation_has_its_defaults_and_changes_every_clip() -> None:
    for name, parameters in PARAMETERS.items():
        entry = parse(name)
        assert entry.probability == ValueRange(1, 1)
        assert entry.parameters == {key: parameter.default for key, parameter in parameters.items()}


DOCUMENTED = """
    reverb[p=0.1,delay=50.0~30.0,decay=10.0:2.0~1.0]
    resample[p=0.1,rate=12000:8000~4000]
    codec[p=0.1,bitrate=48000:16000]
    volume[p=0.1,dbfs=-10:-40]
    pitch[p=0.1,pitch=1~0.2]
    tempo[p=0.1,factor=1~0.5]
    warp[p=0.1,nt=4,nf=1,wt=0.5:1.0,wf=0.1:0.2]
    frequency_mask[p=0.1,n=1:3,size=1:5]
    time_mask[p=0.1,domain=signal,n=3:10~2,size=50:100~40]
    dropout[p=0.1,rate=0.05]
    add[p=0.1,domain=signal,stddev=0~0.5]
    multiply[p=0.1,domain=features,stddev=0~0.5]
"""
"""The values of the example in the documentation of DeepSpeech 0.9.3, without overlay, whose source differs."""


@pytest.mark.parametrize("entry", DOCUMENTED.split())
def test_the_values_that_deepspeech_documents_can_be_used(entry: str) -> None:
    assert Training.model_validate({"augmentation": [entry]}).augmentation == (entry,)


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_value_moves_from_start_to_end_and_stays_within_its_radius(progress: float, drawn: float) -> None:
    value = ValueRange(10, 20, 2)
    assert value.at(0, 0.5) == 10
    assert value.at(1, 0.5) == 20
    assert abs(value.at(progress, drawn) - value.at(progress, 0.5)) <= 2 + 1e-9
    assert value.lowest - 1e-9 <= value.at(progress, drawn) <= value.highest + 1e-9


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "write it as name[p=0.5,parameter=value]"),
        ("reverb[", "write it as name"),
        ("reverb[p=0.1", "write it as name"),
        ("reverb[]", "write it as name"),
        ("reverb[p]", "write it as name"),
        ("reverb[p=0.1],pitch", "write it as name"),
        ("Reverb", "write it as name"),
        ("echo", "echo is unknown; use one of add, codec,"),
        ("reverb[wet=0.3]", "reverb has no parameter wet; it has p, delay, decay"),
        ("reverb[domain=signal]", "reverb has no parameter domain"),
        ("reverb[delay=2,delay=3]", "delay is given twice; give it once"),
        ("reverb[delay=long]", "delay is long; write v, v~r, a:b or a:b~r with numbers"),
        ("reverb[delay=nan]", "write v, v~r"),
        ("reverb[delay=1e3]", "write v, v~r"),
        ("reverb[delay=10:20:30]", "write v, v~r"),
        ("reverb[delay=10~20]", "every value must be from 1 to 500"),
        ("reverb[delay=10~-2]", "every value must be from 1 to 500"),
        ("reverb[p=1.5]", "p is 1.5; every value must be from 0 to 1"),
        ("reverb[p=0.3~0.1]", "p cannot have a range (~); write p=v or p=a:b"),
        ("reverb[p=0.1:1.5]", "every value must be from 0 to 1"),
        ("add[domain=time]", "domain is time; use one of features, signal, spectrogram"),
    ],
)
def test_an_entry_that_cannot_be_used_is_quoted_with_what_to_write(text: str, problem: str) -> None:
    with pytest.raises(AugmentationInvalid, match=re.escape(problem)) as raised:
        parse(text)
    assert repr(text) in str(raised.value)
    with pytest.raises(ValidationError, match=re.escape(problem)):
        Training.model_validate({"augmentation": [text]})


@pytest.mark.parametrize("value", ["Automatic", "auto", 3, {"name": "reverb"}, ["reverb", 3], ["reverb"] * 33])
def test_what_is_neither_auto_nor_a_list_of_entries_is_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="augmentation"):
        Training.model_validate({"augmentation": value})


@given(st.from_regex(FORM, fullmatch=True))
def test_any_text_of_the_form_is_either_read_or_refused_in_words(text: str) -> None:
    try:
        assert parse(text).name in PARAMETERS
    except AugmentationInvalid as error:
        assert repr(text) in str(error)
