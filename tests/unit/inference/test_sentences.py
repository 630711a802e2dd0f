"""Sentences of takes, as prepare will make them."""

from dataclasses import asdict, dataclass

import pytest
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.published import VersionManifest
from speechmodel_api.stages.decoders import Decoding
from speechmodel_inference.errors import BadRequest
from speechmodel_inference.sentences import new_letters, require_trainable
from support.cards import DIGEST, card


@dataclass
class Settings:
    """The settings of the dataset that a version records."""

    annotations: Annotations | None = None
    numbers: Numbers | None = None
    given_alphabet: tuple[str, ...] | None = ()


def version(settings: Settings) -> VersionManifest:
    made = card()
    dataset = made.dataset.model_copy(update=asdict(settings))
    return VersionManifest(
        version="0123abcd",
        language="es-CL",
        decoding=Decoding(beam_width=100),
        model_uri="s3://models/output_graph.pbmm",
        model_sha256=DIGEST,
        model_bytes=1,
        selftest_uri="s3://models/selftest.wav",
        selftest_sha256=DIGEST,
        selftest_text="ok",
        report_uri="s3://models/report.json",
        wer=0.1,
        card=made.model_copy(update={"dataset": dataset}),
    )


REJECTS = Settings(Annotations.REJECT, Numbers.REJECT)


@pytest.mark.parametrize(
    ("text", "settings", "trained"),
    [
        ("a las 10", REJECTS, None),
        ("a las 10", Settings(Annotations.REJECT, Numbers.SPELL), "a las diez"),
        ("hola [risas]", REJECTS, None),
        ("hola [risas]", Settings(Annotations.STRIP, Numbers.REJECT), "hola"),
        ("a las 10 [risas]", Settings(), "a las 10 [risas]"),
        ("Canal 5", Settings(Annotations.REJECT, Numbers.REJECT, given_alphabet=None), "Canal 5"),
        ("\u00a1OK, espejo!", Settings(), "ok espejo"),
        ("Canal 5", Settings(Annotations.REJECT, Numbers.SPELL, given_alphabet=tuple("Canl 5")), "Canal 5"),
        ("canal 6", Settings(Annotations.REJECT, Numbers.SPELL, given_alphabet=tuple("canl 5")), None),
        ("\u00bfQu\u00e9 hora es?", REJECTS, "qu\u00e9 hora es"),
        ("ni\u00c3\u00b1a", REJECTS, None),
    ],
)
def test_a_sentence_is_refused_if_the_settings_of_the_dataset_leave_it_out(
    text: str, settings: Settings, trained: str | None
) -> None:
    if trained is not None:
        assert require_trainable(text, version(settings)) == trained
        return
    with pytest.raises(BadRequest) as refused:
        require_trainable(text, version(settings))
    assert refused.value.message.startswith("text: ")
    assert refused.value.param == "text"


@pytest.mark.parametrize(
    ("text", "new"),
    [("ok espejo", []), ("ñandú w", ["w", "ñ"]), ("n\u0303", ["ñ"]), ("OK 5", ["5"])],
)
def test_letters_that_the_version_cannot_write_are_new(text: str, new: list[str]) -> None:
    assert new_letters(text, frozenset(" abcdefghijklmnopqrstuvxyzú")) == new
