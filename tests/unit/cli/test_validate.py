"""A table of bad manifests, and what `speechmodel validate` reports."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from speechmodel_api import field_problems
from speechmodel_api.crd import schema
from speechmodel_api.field_problems import InvalidSpec, read_spec
from speechmodel_cli.command_line import main
from speechmodel_cli.manifest import validation
from support.manifests import MANIFEST as TEXT

GOOD: dict[str, Any] = {
    "apiVersion": "speechops.dev/v1alpha1",
    "kind": "SpeechModel",
    "metadata": {"name": "espejo", "namespace": "speech"},
    "spec": {
        "language": "es",
        "dataset": {"source": {"persistentVolumeClaim": {"claimName": "voices"}}},
        "publish": {"s3": {"bucket": "models"}},
    },
}


def validated(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> tuple[int, str]:
    path = tmp_path / "model.yaml"
    path.write_text(text, encoding="utf-8")
    code = main(["validate", str(path)])
    return code, capsys.readouterr().out.replace(f"{path}:", "")


def with_spec(**fields: Any) -> str:
    return yaml.safe_dump({**GOOD, "spec": {**GOOD["spec"], **fields}})


def test_a_good_manifest_is_valid_also_among_other_resources(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: key}\nstringData: {whatever: x}\n---\n"
    assert validated(tmp_path, capsys, secret + TEXT) == (0, " espejo valid\n")


@pytest.mark.parametrize("kind", ["List", "SpeechModelList"])
def test_what_kubectl_get_prints_of_several_objects_is_read(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metadata = {
        "name": "luz",
        "uid": "u",
        "resourceVersion": "7",
        "generation": 2,
        "managedFields": [{"manager": "kubectl"}],
    }
    items = [GOOD, {"apiVersion": "v1", "kind": "Secret"}, {**GOOD, "metadata": metadata, "status": {"phase": "Ready"}}]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": kind, "items": items, "metadata": {"resourceVersion": ""}})
    assert validated(tmp_path, capsys, text) == (0, " espejo, luz valid\n")


def test_one_name_in_two_namespaces_is_no_repetition(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = TEXT.replace("{name: espejo}", "{name: espejo, namespace: default}")
    assert validated(tmp_path, capsys, f"{TEXT}---\n{other}") == (0, " espejo, espejo valid\n")


def test_the_manifest_may_be_the_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
    assert main(["validate", "-"]) == 0
    assert capsys.readouterr().out == "-: espejo valid\n"


BAD = {
    "unknown field, its nearest name": (
        TEXT + "  training: {maxEpoch: 5}\n",
        "8: spec.training.maxEpoch: unknown field; did you mean maxEpochs?",
    ),
    "unknown field that lives elsewhere": (
        TEXT + "  beamWidth: 100\n",
        "8: spec.beamWidth: unknown field; there is spec.decoding.beamWidth",
    ),
    "unknown field without a value": (
        TEXT + "  training: {hyperparameters: {learningRate: 1,5}}\n",
        "8: spec.training.hyperparameters.5: unknown field; known here: batchSize, consistency, dropout, gradientClipNorm, hiddenUnits, "
        "layerNorm, learningRate, seed",
    ),
    "a name that YAML reads as a boolean": (
        TEXT + "  decoding: {scorer: {build: {}, hotWords: {no: 1}}}\n",
        '8: spec.decoding.scorer.hotWords.no: YAML reads the name no as the boolean false; write "no"',
    ),
    "an intent whose name has a space": (
        TEXT + "  decoding:\n    intents: {Turn On: [luz]}\n",
        "9: spec.decoding.intents.Turn On: 'Turn On' does not match ^[A-Za-z_][A-Za-z0-9_./-]*$; write a name such as "
        "TurnOn or lights/on",
    ),
    "an intent without phrases": (
        TEXT + "  decoding: {intents: {TurnOn: []}}\n",
        "8: spec.decoding.intents.TurnOn: must have at least 1 entry, not 0",
    ),
    "a text for a list": (
        TEXT + "  training: {augmentation: auto}\n",
        "8: spec.training.augmentation: must be Auto or a list, not 'auto'; did you mean Auto?",
    ),
    "an entry of another type": (
        TEXT + "  training: {augmentation: [5]}\n",
        '8: spec.training.augmentation[0]: must be a string: YAML reads 5 as a number; write "5"',
    ),
    "a format by the name of a dataset": (
        TEXT.replace("dataset: {", "dataset: {format: LJSpeech, "),
        "6: spec.dataset.format: 'LJSpeech' is not one of Commands, DeepSpeechCSV, CommonVoice, LibriSpeech, AudioFolder, "
        "Kaldi; use AudioFolder",
    ),
    "unknown field without a like": (
        TEXT + "  decoding: {zzz: 1}\n",
        "8: spec.decoding.zzz: unknown field; known here: beamWidth, foreignSpeech, grammar, intents, lists, phrases, "
        "scorer",
    ),
    "a language that YAML takes for a boolean": (
        TEXT.replace("language: es", "language: no"),
        '5: spec.language: must be a string: YAML reads no as the boolean false; write "no"',
    ),
    "a revision that YAML takes for a number": (
        TEXT.replace("dataset: {", "dataset: {revision: 2, "),
        '6: spec.dataset.revision: must be a string: YAML reads 2 as a number; write "2"',
    ),
    "two places of other speech": (
        TEXT.replace("dataset: {", "dataset: {negatives: {path: other, source: {s3: {bucket: radio}}}, "),
        "6: spec.dataset.negatives: set either path or source, not both",
    ),
    "other speech in the place of the dataset": (
        TEXT.replace("dataset: {", "dataset: {negatives: {source: {persistentVolumeClaim: {claimName: voices}}}, "),
        "6: spec.dataset: negatives.source must not be the place of source; set another path or prefix",
    ),
    "other speech on a claim and in a bucket": (
        TEXT.replace(
            "dataset: {",
            "dataset: {negatives: {source: {persistentVolumeClaim: {claimName: a}, s3: {bucket: radio}}}, ",
        ),
        "6: spec.dataset.negatives.source: set exactly one of persistentVolumeClaim and s3",
    ),
    "a number in quotes": (
        TEXT + '  training: {hyperparameters: {learningRate: "1e-4"}}\n',
        '8: spec.training.hyperparameters.learningRate: must be a number: "1e-4" in quotes is a string; write 0.0001',
    ),
    "a boolean in quotes": (
        TEXT + '  suspend: "yes"\n',
        '8: spec.suspend: must be true or false: "yes" in quotes is a string; write true',
    ),
    "text for a number": (
        TEXT + "  training: {maxEpochs: many}\n",
        "8: spec.training.maxEpochs: must be an integer, not 'many'",
    ),
    "Auto for a mapping": (
        TEXT + "  training: {hyperparameters: Auto}\n",
        "8: spec.training.hyperparameters: must be a mapping, not 'Auto'; remove hyperparameters, and defaults are "
        "used for all its settings",
    ),
    "Auto for a mapping that needs values": (
        TEXT + "  training: {earlyStop: Auto}\n",
        "8: spec.training.earlyStop: must be a mapping, not 'Auto'",
    ),
    "a list for a mapping": (TEXT + "  training: []\n", "8: spec.training: must be a mapping, not a list"),
    "a fraction for an integer": (
        TEXT + "  training: {maxEpochs: 7.5}\n",
        "8: spec.training.maxEpochs: must be an integer, not 7.5",
    ),
    "a duplicate key": (
        TEXT + "  suspend: true\n  suspend: false\n",
        "9: spec.suspend: is given twice, in line 8 already; remove one",
    ),
    "too small": (
        TEXT + "  training: {maxEpochs: 0}\n",
        "8: spec.training.maxEpochs: must be at least 1, not 0",
    ),
    "not greater": (
        TEXT + "  training: {hyperparameters: {learningRate: 0}}\n",
        "8: spec.training.hyperparameters.learningRate: must be more than 0, not 0",
    ),
    "too large": (
        TEXT + "  training: {hyperparameters: {dropout: 1}}\n",
        "8: spec.training.hyperparameters.dropout: must be less than 1, not 1",
    ),
    "another case of an enum": (
        TEXT.replace("dataset: {", "dataset: {format: commands, "),
        "6: spec.dataset.format: 'commands' is not one of Commands, DeepSpeechCSV, CommonVoice, LibriSpeech, AudioFolder, "
        "Kaldi; did you mean Commands?",
    ),
    "a rule between fields": (
        TEXT + "  training: {storage: {claimName: a, volumeClaimTemplate: {}}}\n",
        "8: spec.training.storage: set either claimName or volumeClaimTemplate, not both",
    ),
    "a flag of DeepSpeech": (
        TEXT + "  training: {hyperparameters: {n_hidden: 2048}}\n",
        "8: spec.training.hyperparameters.n_hidden: unknown field; n_hidden of DeepSpeech is spec.training.hyperparameters.hiddenUnits "
        "here",
    ),
    "an address of S3 as a bucket": (
        TEXT + "  training: {initFrom: {s3: {bucket: 's3://old/deep/speech/'}}}\n",
        "8: spec.training.initFrom.s3.bucket: must be the name of the bucket alone, not 's3://old/deep/speech/'; write "
        "`bucket: old` and `prefix: deep/speech`",
    ),
    "an address of S3 without a bucket": (
        TEXT + "  training: {initFrom: {s3: {bucket: 's3://'}}}\n",
        "8: spec.training.initFrom.s3.bucket: must be the name of a bucket, not 's3://'",
    ),
    "a URL as a bucket": (
        TEXT + f"  training: {{initFrom: {{s3: {{bucket: 'https://{'a' * 70}.com/old'}}}}}}\n",
        f"8: spec.training.initFrom.s3.bucket: must be the name of the bucket alone, not 'https://{'a' * 70}.com/old'; the address of the "
        "service is endpoint, and a folder is prefix",
    ),
    "a prefix with a slash at its end": (
        TEXT + "  training: {initFrom: {s3: {bucket: old, prefix: en/}}}\n",
        "8: spec.training.initFrom.s3.prefix: 'en/' does not match ^([A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*)?$; write it without a "
        "slash at either end, such as speech/models",
    ),
    "a resumed checkpoint without its output layer": (
        TEXT + "  training: {initFrom: {persistentVolumeClaim: {claimName: a}, resume: true, dropLayers: 1}}\n",
        "8: spec.training.initFrom: dropLayers must be 0 with resume, which continues all layers; leave one of them out",
    ),
    "a setting that the engine lacks": (
        TEXT + "  training: {engine: CoquiSTT, schedule: {type: Cosine}}\n",
        "8: spec.training: schedule.type must be Constant or Auto with the engine CoquiSTT, whose learning rate is constant",
    ),
    "clips of requests that anybody may play": (
        TEXT + "  serving: {takes: {misheard: {}}}\n",
        "8: spec.serving: takes.misheard lets users of the server play requests of other people: set apiKeysSecretRef too",
    ),
    "trainings that anybody may start": (
        TEXT + "  serving: {takes: {retrain: {}}}\n",
        "8: spec.serving: takes.retrain lets users of the server start a training: set apiKeysSecretRef too",
    ),
    "no source": (
        TEXT.replace("{persistentVolumeClaim: {claimName: voices}}", "{}"),
        "6: spec.dataset.source: set exactly one of persistentVolumeClaim and s3",
    ),
    "two sources": (
        TEXT.replace("claimName: voices}", "claimName: voices}, s3: {bucket: voices}"),
        "6: spec.dataset.source: set exactly one of persistentVolumeClaim and s3",
    ),
    "labels twice": (
        TEXT.replace("dataset: {", "dataset: {alphabet: [a, b, a], "),
        "6: spec.dataset.alphabet: every label must appear only once; remove the repeated 'a'",
    ),
    "a phrase with a letter that the alphabet lacks": (
        TEXT.replace("dataset: {", "dataset: {alphabet: [a, b], ") + "  decoding: {phrases: [ab, abc]}\n",
        "8: spec.decoding.phrases: the phrase 'abc': the model's alphabet does not contain 'c'; write the words as in the "
        "transcripts, or train with recordings that contain them",
    ),
    "a hot word with a letter that the alphabet lacks": (
        TEXT.replace("dataset: {", "dataset: {alphabet: [a, b], ")
        + "  decoding: {grammar: FreeText, scorer: {build: {order: 2}, hotWords: {cab: 2}}}\n",
        "8: spec.decoding.scorer.hotWords: the hot word 'cab' is never said, because the alphabet has no 'c'; correct or remove it",
    ),
    "a missing field": (TEXT.replace("{bucket: models}", "{}"), "7: spec.publish.s3: the field bucket is missing"),
    "an endpoint with a path": (
        TEXT.replace("bucket: models", "bucket: models, endpoint: 's3.local'"),
        r"7: spec.publish.s3.endpoint: 's3.local' does not match ^https?://[^/\s]+$",
    ),
    "a newline at the end of a name, where one problem is enough": (
        TEXT.replace("claimName: voices", 'claimName: "Voices\\n"'),
        "6: spec.dataset.source.persistentVolumeClaim.claimName: 'Voices\\n' does not match ^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
    ),
    "another type for an enum": (
        TEXT.replace("dataset: {", "dataset: {format: 5, "),
        '6: spec.dataset.format: must be a string: YAML reads 5 as a number; write "5"',
    ),
    "a name as Python writes it": (
        TEXT + "  training: {max_epochs: 5}\n",
        "8: spec.training.max_epochs: unknown field; did you mean maxEpochs?",
    ),
    "a label with a value that is not a string": (
        TEXT + "  serving: {podTemplate: {labels: {tier: 1}}}\n",
        '8: spec.serving.podTemplate.labels.tier: must be a string: YAML reads 1 as a number; write "1"',
    ),
    "a label whose name is too long": (
        TEXT + f"  serving: {{podTemplate: {{labels: {{{'k' * 318}: a}}}}}}\n",
        f"8: spec.serving.podTemplate.labels.{'k' * 318}: must have at most 317 characters, not 318",
    ),
    "a field without a value": (
        TEXT + "  serving:\n",
        "8: spec.serving: has no value, so it is treated as absent; write `serving: {}` for all defaults, or remove it",
    ),
    "a name that is too long": (
        TEXT.replace("name: espejo", f"name: {'e' * 37}"),
        "3: metadata.name: must be at most 36 lowercase letters, digits or '-', start with a letter, and end with a letter or digit",
    ),
    "a name that is a number": (
        TEXT.replace("name: espejo", "name: 2026"),
        "3: metadata.name: must be at most 36 lowercase letters, digits or '-', start with a letter, and end with a letter or digit",
    ),
    "no name": (TEXT.replace("{name: espejo}", "{}"), "3: metadata.name: the field name is missing"),
    "another API version": (
        TEXT.replace("v1alpha1", "v1"),
        "1: apiVersion: must be speechops.dev/v1alpha1",
    ),
    "a kind in another case": (TEXT.replace("kind: SpeechModel", "kind: Speechmodel"), "2: kind: must be SpeechModel"),
    "no SpeechModel at all": ("kind: Secret\n", "1: holds no document of kind SpeechModel"),
    "not YAML": ("spec: [1, 2\n", "2: is not valid YAML: expected ',' or ']', but got '<stream end>'"),
    "a tab": (
        "spec:\n\tlanguage: es\n",
        "2: is not valid YAML: found character '\\t' that cannot start any token; indent with spaces instead of tabs",
    ),
    "a number of five thousand digits": (
        TEXT + f"  training: {{maxEpochs: {'9' * 5000}}}\n",
        "8: spec.training.maxEpochs: must be an integer, not inf",
    ),
    "half of a character": (
        TEXT.replace("bucket: models", 'bucket: "models\\ud83d"'),
        "7: spec.publish.s3.bucket: has half of a surrogate pair, such as \\ud83d alone; write the character itself\n"
        "7: spec.publish.s3.bucket: 'models?' does not match ^[a-z0-9][a-z0-9.-]*[a-z0-9]$; write the name of the bucket alone, such "
        "as models",
    ),
    "a label of the SpeechModel that is not a string": (
        TEXT.replace("{name: espejo}", "{name: espejo, labels: {tier: 1}}"),
        '3: metadata.labels.tier: must be a string: YAML reads 1 as a number; write "1"',
    ),
    "a namespace that is a number": (
        TEXT.replace("{name: espejo}", "{name: espejo, namespace: 12}"),
        '3: metadata.namespace: must be a string: YAML reads 12 as a number; write "12"',
    ),
    "an unknown field of metadata": (
        TEXT.replace("{name: espejo}", "{name: espejo, lables: {}}"),
        "3: metadata.lables: unknown field; did you mean labels?",
    ),
    "two of the same name": (
        f"{TEXT}---\n{TEXT}",
        "11: metadata.name: the SpeechModel on line 3 already has this name; rename one of them",
    ),
    "a List whose items are given twice": (
        '{"apiVersion": "v1",\n"kind": "List",\n"items": [' + json.dumps(GOOD) + '],\n"items": []}',
        "4: items: is given twice, in line 3 already; remove one",
    ),
    "half of a character in a name": (
        TEXT.replace("{name: espejo}", '{name: espejo, labels: {"tier\\ud83d": x}}'),
        "3: metadata.labels: has half of a surrogate pair, such as \\ud83d alone; write the character itself",
    ),
    "the third of a List": (
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [GOOD, {"kind": "Secret"}, {**GOOD, "metadata": {"name": "luz"}, "spce": {}}],
            },
            indent=0,
        ),
        "52: spce: unknown field; did you mean spec?",
    ),
}


@pytest.mark.parametrize(("text", "expected"), BAD.values(), ids=BAD.keys())
def test_a_bad_manifest_is_reported_with_line_field_and_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, expected: str
) -> None:
    assert validated(tmp_path, capsys, text) == (1, f"{expected}\n")


def test_all_problems_are_reported_at_once_in_the_order_of_their_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = TEXT.replace("name: espejo", "name: E").replace("language: es", "language: no") + "  suspend: 1\n  wer: 2\n"
    code, output = validated(tmp_path, capsys, text)
    assert code == 1
    assert [line.split(":")[0] for line in output.splitlines()] == ["3", "5", "8", "9"]


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        (
            "training",
            {"augmentation": ["reverb[p=2]"]},
            "training.augmentation: 'reverb[p=2]': p is 2; every value must be",
        ),
        ("training", {"augmentation": 5}, "training.augmentation: must be Auto or a list, not 5"),
        ("training", {"augmentation": True}, "training.augmentation: must be Auto or a list, not the boolean true"),
        ("training", {"augmentation": {"reverb": {}}}, "training.augmentation: must be Auto or a list, not a mapping"),
        ("training", {"augmentation": ["reverb", 5]}, "training.augmentation[1]: must be a string"),
        (
            "training",
            {"engine": "CoquiSTT", "augmentation": ["codec[p=0.1:0.2]"]},
            "training: augmentation must have a p without a range in 'codec[p=0.1:0.2]' with the engine CoquiSTT",
        ),
        ("training", {"engine": "Coqi"}, "training.engine: 'Coqi' is not one of Native, CoquiSTT"),
        (
            "training",
            {"engine": "x" * 5000},
            f"training.engine: '{'x' * 98}… is not one of Native, CoquiSTT",
        ),
        ("decoding", {"intents": {"a b": ["ok"]}}, "decoding.intents.a b: 'a b' does not match ^[A-Za-z_]"),
        ("decoding", {"intents": {"": ["ok"]}}, "decoding.intents.: must have at least 1 character, not 0"),
        (
            "decoding",
            {"lists": {"n" * 64: ["uno"]}},
            f"decoding.lists.{'n' * 64}: must have at most 63 characters, not 64",
        ),
        (
            "decoding",
            {"scorer": {"path": "a", "hotWords": {"": 1}}},
            "decoding.scorer.hotWords.: must have at least 1 character, not 0",
        ),
        (
            "decoding",
            {"intents": {"A": ["a" * 500] * 300}},
            "decoding: phrases, intents and lists have 150915 bytes as JSON; at",
        ),
    ],
)
def test_the_operator_says_of_a_field_what_validate_says(
    field: str, value: object, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = yaml.safe_load(TEXT)
    manifest["spec"][field] = value
    _, output = validated(tmp_path, capsys, yaml.safe_dump(manifest))
    with pytest.raises(InvalidSpec) as found:
        read_spec(manifest["spec"])
    assert str(found.value).startswith(f"spec.{sentence}")
    said = [line.split(": ", 1)[1] for line in output.splitlines() if ": spec." in line]
    assert len(said) == 1
    assert said[0].startswith(str(found.value)) or "[1]" in sentence, (
        "of a number, validate says how to write it as text"
    )


def test_the_schema_is_made_once_for_all_fields(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(*, described: bool) -> dict[str, Any]:
        made.append(described)
        return schema(described=described)

    monkeypatch.setattr(field_problems, "schema", counted)
    field_problems.manifest_schema.cache_clear()
    validation._manifest_schema.cache_clear()
    assert validated(tmp_path, capsys, TEXT)[0] == 0
    assert made == [False], "descriptions take most of a second, and nobody reads them here"


def test_several_files_are_all_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good.yaml").write_text(TEXT)
    (tmp_path / "latin1.yaml").write_bytes(b"a: \xe9")
    code = main(["validate", str(tmp_path / "good.yaml"), str(tmp_path / "none.yaml"), str(tmp_path / "latin1.yaml")])
    output = capsys.readouterr().out.replace(f"{tmp_path}/", "").splitlines()
    assert code == 1
    assert output == [
        "good.yaml: espejo valid",
        "none.yaml:1: cannot be read: No such file or directory",
        "latin1.yaml:1: is not UTF-8 (unexpected end of data); save it as UTF-8",
    ]


def test_what_the_api_server_prunes_is_pruned_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = validated(
        tmp_path, capsys, with_spec(serving=None, training={"maxEpochs": 1e1, "activeDeadlineSeconds": None})
    )
    assert code == 0


def test_every_example_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    examples = sorted((Path(__file__).parents[3] / "examples").glob("*/speechmodel.yaml"))
    assert examples
    assert main(["validate", *map(str, examples)]) == 0, capsys.readouterr().out
