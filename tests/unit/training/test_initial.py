"""The checkpoint that training begins with: ours and DeepSpeech's."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from speechmodel_stagekit.alphabet import write_alphabet
from speechmodel_stagekit.errors import ArtefactMissing, Stopped
from speechmodel_training.errors import InitialCheckpointUnusable
from speechmodel_training.initial import read_initial_checkpoint
from speechmodel_training.learner import Learner, Tensors, average_of, tensor_shapes, upstream_shapes
from speechmodel_training.network import CELL, Array, Geometry, fresh_weights
from speechmodel_training.state import LineageFacts, TrainingState
from speechmodel_training.tensor_files import read_tensors, write_tensors

from .conftest import ALPHABET, Workspace

GEOMETRY = Geometry(16, len(ALPHABET))


@pytest.fixture(scope="module")
def fresh() -> dict[str, Array]:
    return fresh_weights(GEOMETRY, 7)


def tensors_of(geometry: Geometry, seed: int = 1) -> Tensors:
    """The tensors of an upstream checkpoint whose biases are no zeros."""
    drawn = np.random.default_rng(seed)
    tensors = Learner(geometry, seed=seed, learning_rate=0.001, dropout=0.0).tensors()
    for name in geometry.weight_shapes():
        tensors[name] = drawn.normal(size=tensors[name].shape).astype(np.float32)
    return {name: tensors[name] for name in upstream_shapes(geometry)}


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    for number, name in enumerate(("train-90", "best_dev-40", "best_dev-70")):
        write_tensors(tmp_path / name, tensors_of(GEOMETRY, number))
    write_alphabet(tmp_path / "alphabet.txt", ALPHABET)
    return tmp_path


def test_the_newest_of_deepspeechs_best_checkpoints_is_taken(upstream: Path) -> None:
    assert read_initial_checkpoint(upstream).place == upstream / "best_dev-70"
    assert read_initial_checkpoint(upstream / "train-90").place == upstream / "train-90"


def test_hidden_files_of_macos_are_no_checkpoints(upstream: Path) -> None:
    (upstream / "._best_dev-99.index").write_bytes(b"Mac OS X")
    for path in upstream.glob("best_dev-*"):
        path.unlink()
    assert read_initial_checkpoint(upstream).place == upstream / "train-90"


def test_with_the_same_alphabet_every_weight_is_taken_over(upstream: Path, fresh: dict[str, Array]) -> None:
    expected = tensors_of(GEOMETRY, 2)
    weights = read_initial_checkpoint(upstream).weights_for(fresh, ALPHABET, 0)
    assert {name: value.tobytes() for name, value in weights.items()} == {
        name: expected[name].tobytes() for name in fresh
    }


@pytest.mark.parametrize(
    "drop_layers, drawn",
    [
        (1, {"layer_6"}),
        (2, {"layer_6", "layer_5"}),
        (3, {"layer_6", "layer_5", CELL}),
        (5, {"layer_6", "layer_5", CELL, "layer_3", "layer_2"}),
    ],
    ids=["1", "2", "3", "5"],
)
def test_dropped_layers_are_counted_from_the_output(
    upstream: Path, fresh: dict[str, Array], drop_layers: int, drawn: set[str]
) -> None:
    weights = read_initial_checkpoint(upstream).weights_for(fresh, ALPHABET, drop_layers)
    new = {name for name in fresh if weights[name].tobytes() == fresh[name].tobytes()}
    assert {name.rpartition("/")[0] for name in new} == drawn


def test_for_another_alphabet_the_output_layer_keeps_the_labels_that_both_have(upstream: Path) -> None:
    alphabet = (*reversed(ALPHABET[3:]), "ñ")
    fresh = fresh_weights(Geometry(16, len(alphabet)), 7)
    theirs = tensors_of(GEOMETRY, 2)
    weights = read_initial_checkpoint(upstream).weights_for(fresh, alphabet, 0)
    for name in ("layer_6/weights", "layer_6/bias"):
        for label in ALPHABET[3:]:
            np.testing.assert_array_equal(
                weights[name][..., alphabet.index(label)], theirs[name][..., ALPHABET.index(label)]
            )
        np.testing.assert_array_equal(weights[name][..., alphabet.index("ñ")], fresh[name][..., alphabet.index("ñ")])
        np.testing.assert_array_equal(weights[name][..., -1], theirs[name][..., -1])  # the blank


def test_an_alphabet_that_has_less_than_half_of_the_datasets_labels_is_named(
    upstream: Path, facts: LineageFacts
) -> None:
    checkpoint = read_initial_checkpoint(upstream)
    assert list(checkpoint.warnings((*ALPHABET[3:], "ñ"), 0)) == []
    write_alphabet(upstream / "alphabet.txt", [label.upper() for label in ALPHABET])
    checkpoint = read_initial_checkpoint(upstream)
    (sentence,) = checkpoint.warnings(ALPHABET, 0)
    assert sentence.startswith("only 1 of the dataset's 16 labels are in the alphabet of the checkpoint of initFrom")
    assert sentence.endswith("such as upper case, correct alphabet.txt beside the checkpoint")
    assert list(checkpoint.warnings(ALPHABET, 1)) == []
    # a checkpoint of ours, whose alphabet.txt is not read
    state = TrainingState(facts=facts.model_copy(update={"alphabet": checkpoint.alphabet}), attempt=1, target="1")
    (upstream / "state.json").write_text(state.model_dump_json(by_alias=True), encoding="utf-8")
    (sentence,) = read_initial_checkpoint(upstream).warnings(ALPHABET, 0)
    assert sentence.endswith("so the other outputs begin with random weights")


def test_sizes_that_differ_are_named_one_by_one(upstream: Path) -> None:
    (upstream / "alphabet.txt").unlink()
    fresh = fresh_weights(Geometry(20, 3), 7)
    with pytest.raises(InitialCheckpointUnusable) as error:
        read_initial_checkpoint(upstream).weights_for(fresh, "abc", 0)
    assert (
        "it has hiddenUnits 16 instead of 20, layer_1/weights has the shape [494, 16] instead of [494, 20], layer_1/bias"
        in (str(error.value))
    )
    assert "and 8 more" in str(error.value)
    assert "raise dropLayers" in str(error.value)


@pytest.mark.parametrize("with_alphabet", [False, True])
def test_a_network_of_bytes_says_which_layers_can_be_used(
    tmp_path: Path, fresh: dict[str, Array], with_alphabet: bool
) -> None:
    write_tensors(tmp_path / "best_dev-7", tensors_of(Geometry(16, 255)))
    if with_alphabet:  # as Coqui writes it
        (tmp_path / "alphabet.txt").write_bytes(b"".join(bytes([label]) + b"\n" for label in range(1, 256)))
    checkpoint = read_initial_checkpoint(tmp_path)
    with pytest.raises(InitialCheckpointUnusable, match=r"255 labels, the bytes of UTF-8 .* dropLayers: 1 or more"):
        checkpoint.weights_for(fresh, ALPHABET, 0)
    assert checkpoint.weights_for(fresh, ALPHABET, 1).keys() == fresh.keys()


def test_the_best_of_all_runs_of_coqui_is_taken(upstream: Path) -> None:
    (upstream / "best").mkdir()
    write_tensors(upstream / "best" / "model", tensors_of(GEOMETRY))
    assert read_initial_checkpoint(upstream).place == upstream / "best" / "model"


def test_an_alphabet_may_have_a_byte_order_mark_and_must_be_utf_8(upstream: Path, fresh: dict[str, Array]) -> None:
    text = (upstream / "alphabet.txt").read_text(encoding="utf-8")
    (upstream / "alphabet.txt").write_text(f"\ufeff{text}", encoding="utf-8")
    assert read_initial_checkpoint(upstream).alphabet == ALPHABET
    (upstream / "alphabet.txt").write_text(f"{text}ñ\n", encoding="iso-8859-1")
    checkpoint = read_initial_checkpoint(upstream)
    with pytest.raises(InitialCheckpointUnusable, match=r"alphabet\.txt: is not UTF-8; save it as UTF-8"):
        checkpoint.weights_for(fresh, ALPHABET, 0)
    assert checkpoint.weights_for(fresh, ALPHABET, 1).keys() == fresh.keys()


def test_layer_norm_of_one_network_only_is_named(upstream: Path, fresh: dict[str, Array]) -> None:
    normed = fresh_weights(Geometry(16, len(ALPHABET), layer_norm=True), 7)
    with pytest.raises(InitialCheckpointUnusable, match="layer_1/LayerNorm/beta is missing"):
        read_initial_checkpoint(upstream).weights_for(normed, ALPHABET, 0)
    write_tensors(upstream / "best_dev-99", tensors_of(Geometry(16, len(ALPHABET), layer_norm=True)))
    with pytest.raises(InitialCheckpointUnusable, match="it has layer_1/LayerNorm/beta, "):
        read_initial_checkpoint(upstream).weights_for(fresh, ALPHABET, 0)


@pytest.mark.parametrize(
    "name, message",
    [
        ("absent", "there is no such checkpoint and no such folder"),
        ("empty", "the folder has no checkpoint"),
        ("best-7.index", "it is one file of a checkpoint; give the prefix best-7 instead"),
        ("best-7.data-00000-of-00001", "it is one file of a checkpoint; give the prefix best-7 instead"),
        ("model.tar.gz", "it is not a TensorFlow checkpoint; if it is an archive, unpack it"),
        ("unpacked", "the folder has no checkpoint .* but deepspeech-0.9.3-checkpoint has one; give that"),
        ("languages", "the folder has no checkpoint .* but deep/fr, en, es, ours have some; give one of these"),
        ("named", "the folder has no checkpoint .* but best-model has one; give that"),
        ("loaded", "the folder has no checkpoint .* but it has en.tar.gz, an archive: unpack it"),
        (
            "model",
            "the folder has no checkpoint .* but it has output_graph.pbmm, a finished graph, which cannot be trained",
        ),
    ],
)
def test_a_path_without_a_checkpoint_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unpacked" / "deepspeech-0.9.3-checkpoint").mkdir(parents=True)
    for file in ("best-7.index", "best-7.data-00000-of-00001", "model.tar.gz"):
        (tmp_path / file).touch()
    (tmp_path / "unpacked" / "deepspeech-0.9.3-checkpoint" / "best_dev-7.index").touch()
    for file in (
        "languages/en/best_dev-7.index",
        "languages/es/train-7.index",
        "languages/es/._train-8.index",
        "languages/it/._train-8.index",
        "languages/deep/fr/deepspeech.index",
        "languages/ours/step-0000000010/model.index",
        "named/best-model/best_dev-7.index",
        "loaded/en.tar.gz",
        "model/output_graph.pbmm",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(
        InitialCheckpointUnusable, match=f"{name} cannot be used: {message}.*correct the path or the prefix$"
    ):
        read_initial_checkpoint(tmp_path / name)


def test_weights_that_are_no_numbers_are_named_unless_their_layer_is_dropped(
    tmp_path: Path, fresh: dict[str, Array]
) -> None:
    tensors = tensors_of(GEOMETRY)
    tensors["layer_6/bias"][0] = np.nan
    write_tensors(tmp_path / "train-1", tensors)
    checkpoint = read_initial_checkpoint(tmp_path)
    with pytest.raises(
        InitialCheckpointUnusable,
        match="cannot be used: layer_6/bias has values that are infinite or NaN; choose another",
    ):
        checkpoint.weights_for(fresh, ALPHABET, 0)
    assert np.isfinite(checkpoint.weights_for(fresh, ALPHABET, 1)["layer_6/bias"]).all()


def test_one_checkpoint_of_any_name_is_taken_and_of_several_one_must_be_given(tmp_path: Path) -> None:
    write_tensors(tmp_path / "deepspeech", tensors_of(GEOMETRY))
    assert read_initial_checkpoint(tmp_path).place == tmp_path / "deepspeech"
    write_tensors(tmp_path / "other", tensors_of(GEOMETRY))
    with pytest.raises(
        InitialCheckpointUnusable, match="has several checkpoints: deepspeech, other; give the prefix of one"
    ):
        read_initial_checkpoint(tmp_path)


def test_the_names_of_another_tool_are_listed(tmp_path: Path) -> None:
    write_tensors(tmp_path / "train-1", {"h1": np.zeros((4, 4), np.float32), "b1": np.zeros(4, np.float32)})
    with pytest.raises(
        InitialCheckpointUnusable, match=r"it lacks .*, and \d more; it has b1, h1; give a checkpoint of DeepSpeech"
    ):
        read_initial_checkpoint(tmp_path)


def test_a_tensor_of_another_rank_is_named(tmp_path: Path) -> None:
    write_tensors(tmp_path / "train-1", tensors_of(GEOMETRY) | {"layer_1/bias": np.float32(1)})
    with pytest.raises(
        InitialCheckpointUnusable, match="layer_1/bias has 0 dimensions instead of 1; give a checkpoint of"
    ):
        read_initial_checkpoint(tmp_path)


def test_a_wrong_alphabet_is_named_unless_the_output_layer_is_dropped(upstream: Path, fresh: dict[str, Array]) -> None:
    write_alphabet(upstream / "alphabet.txt", ALPHABET[1:])
    with pytest.raises(
        InitialCheckpointUnusable,
        match=r"layer_6 has 17 outputs, but its alphabet has 15 labels; correct alphabet\.txt",
    ):
        read_initial_checkpoint(upstream).weights_for(fresh, ALPHABET, 0)
    assert read_initial_checkpoint(upstream).weights_for(fresh, ALPHABET, 1).keys() == fresh.keys()
    (upstream / "alphabet.txt").write_text("a\na\n")
    with pytest.raises(InitialCheckpointUnusable, match=r"alphabet\.txt: has no labels or a label twice"):
        read_initial_checkpoint(upstream).weights_for(fresh, ALPHABET, 0)


@pytest.mark.parametrize(
    "labels, problem",
    [(None, r"state\.json is damaged: .*"), (ALPHABET[1:], "layer_6 has 17 outputs, but its alphabet has 15 labels")],
    ids=["damaged", "of other labels"],
)
def test_a_wrong_state_of_our_checkpoint_is_not_to_be_corrected(
    tmp_path: Path, fresh: dict[str, Array], facts: LineageFacts, labels: tuple[str, ...] | None, problem: str
) -> None:
    write_tensors(tmp_path / "model", tensors_of(GEOMETRY))
    write_alphabet(tmp_path / "alphabet.txt", ALPHABET)
    if labels is None:
        state = "{"
    else:
        facts = facts.model_copy(update={"alphabet": labels})
        state = TrainingState(facts=facts, attempt=1, target="1").model_dump_json(by_alias=True)
    (tmp_path / "state.json").write_text(state, encoding="utf-8")
    advice = "choose another checkpoint, or leave out the output layer with dropLayers: 1"
    with pytest.raises(InitialCheckpointUnusable, match=rf"(?s){problem}; {advice}"):
        read_initial_checkpoint(tmp_path).weights_for(fresh, ALPHABET, 0)
    assert read_initial_checkpoint(tmp_path).weights_for(fresh, ALPHABET, 1).keys() == fresh.keys()


@pytest.mark.parametrize("ending", ["index", "data-00000-of-00001"])
def test_a_damaged_checkpoint_is_named(ending: str, upstream: Path) -> None:
    damaged = upstream / f"best_dev-70.{ending}"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    with pytest.raises(
        InitialCheckpointUnusable, match=r"(?s)best_dev-70 cannot be used: it is damaged: .*; choose another"
    ):
        read_initial_checkpoint(upstream)


LSTM_MOMENTS = tuple(f"{CELL}/{weight}/{moment}" for weight in ("bias", "kernel") for moment in ("Adam", "Adam_1"))


def progress_of(geometry: Geometry, seed: int = 1) -> Tensors:
    """The tensors of an upstream checkpoint after 90 steps, with moments that are no zeros."""
    drawn, tensors = np.random.default_rng(seed), tensors_of(geometry, seed)
    moments = [name for name in tensors if "/Adam" in name]
    moved = {name: drawn.normal(size=tensors[name].shape).astype(np.float32) for name in moments}
    return tensors | moved | {"global_step": np.int64(90), "beta1_power": np.float32(0.5)}


def resumed(path: Path, alphabet: Sequence[str] = ALPHABET) -> Tensors:
    fresh = fresh_weights(Geometry(16, len(alphabet)), 7)
    return read_initial_checkpoint(path, resume=True).tensors_for(fresh, alphabet, 0)


def test_resuming_takes_steps_moments_and_weights_of_the_newest_checkpoint(upstream: Path) -> None:
    theirs = progress_of(GEOMETRY)
    write_tensors(upstream / "train-90", theirs)
    tensors = resumed(upstream)
    assert set(tensors) == set(tensor_shapes(GEOMETRY)) - {"learning_rate"}
    assert (int(tensors["global_step"]), float(tensors["beta1_power"])) == (90, 0.5)
    for name in set(theirs) & set(tensors):
        np.testing.assert_array_equal(tensors[name], theirs[name], err_msg=name)
    np.testing.assert_array_equal(tensors[average_of("layer_1/bias")], theirs["layer_1/bias"])


def test_resuming_keeps_the_averages_apart_from_the_weights(tmp_path: Path) -> None:
    theirs = progress_of(GEOMETRY)
    averages = {average_of(name): np.asarray(theirs[name]) + 1 for name in GEOMETRY.weight_shapes()}
    for folder in ("step-000000080-epoch-000008-attempt-0001", "step-000000090-epoch-000009-attempt-0001"):
        (tmp_path / folder).mkdir()
        write_tensors(tmp_path / folder / "model", theirs | averages | {"global_step": np.int64(folder[10:14])})
    tensors = resumed(tmp_path)
    assert int(tensors["global_step"]) == 90
    for name, average in averages.items():
        np.testing.assert_array_equal(tensors[name], average)
        weight = name.removesuffix("/ExponentialMovingAverage")
        np.testing.assert_array_equal(tensors[weight], theirs[weight])


def test_resuming_with_another_alphabet_moves_the_labels_with_their_moments(upstream: Path) -> None:
    alphabet, theirs = (*reversed(ALPHABET[3:]), "ñ"), progress_of(GEOMETRY)
    write_tensors(upstream / "train-90", theirs)
    tensors, fresh = resumed(upstream, alphabet), fresh_weights(Geometry(16, len(alphabet)), 7)
    for weight in ("layer_6/weights", "layer_6/bias"):
        for name in (weight, f"{weight}/Adam", f"{weight}/Adam_1"):
            for label in ALPHABET[3:]:
                ours = np.asarray(tensors[name])[..., alphabet.index(label)]
                np.testing.assert_array_equal(ours, np.asarray(theirs[name])[..., ALPHABET.index(label)])
            np.testing.assert_array_equal(np.asarray(tensors[name])[..., -1], np.asarray(theirs[name])[..., -1])
            new = fresh[name][..., alphabet.index("ñ")] if name == weight else 0
            np.testing.assert_array_equal(np.asarray(tensors[name])[..., alphabet.index("ñ")], new)


@pytest.mark.parametrize("absent", [LSTM_MOMENTS, ("learning_rate",)], ids=["of cuDNN", "of an early version"])
def test_moments_that_a_checkpoint_lacks_begin_at_zero(
    absent: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    theirs = progress_of(GEOMETRY)
    write_tensors(tmp_path / "train-90", {name: theirs[name] for name in theirs if name not in absent})
    tensors = resumed(tmp_path)
    for name in set(theirs) & set(tensors):
        np.testing.assert_array_equal(tensors[name], 0 if name in absent else theirs[name], err_msg=name)
    assert ("these moments of Adam begin at zero" in caplog.text) is (absent == LSTM_MOMENTS)


def test_resuming_needs_the_steps_and_weights_and_moments_that_are_numbers(tmp_path: Path) -> None:
    theirs = progress_of(GEOMETRY)
    write_tensors(tmp_path / "train-90", {name: theirs[name] for name in theirs if name != "global_step"})
    with pytest.raises(InitialCheckpointUnusable, match="it lacks global_step; leave out resume, which needs"):
        resumed(tmp_path)
    for name in ("layer_6/bias", "layer_5/bias/Adam"):
        write_tensors(tmp_path / "train-90", theirs | {name: np.full_like(theirs[name], np.nan)})
        with pytest.raises(InitialCheckpointUnusable, match=f"{name} has values that are infinite or NaN; choose"):
            resumed(tmp_path)


@pytest.mark.training
def test_a_resumed_training_counts_steps_on_and_epochs_from_0(workspace: Workspace) -> None:
    first = workspace.train(maxEpochs=1)
    second = workspace.train(
        maxEpochs=1, initFrom=str(workspace.lineage), resume=True, key="33333333", lineage="44444444"
    )
    assert (second.epoch, second.step) == (1, 2 * first.step)


@pytest.mark.training
def test_a_resumed_training_continues_with_the_moments(workspace: Workspace) -> None:
    workspace.train(maxEpochs=1)
    newest = max(workspace.lineage.glob("step-*"))
    still = shutil.copytree(newest, workspace.path / "still")
    tensors = read_tensors(newest / "model", tensor_shapes(Geometry(32, len(ALPHABET))))
    zeros = {name: np.zeros_like(tensor) for name, tensor in tensors.items() if "/Adam" in name}
    write_tensors(still / "model", tensors | zeros)
    losses = [
        workspace.train(maxEpochs=1, initFrom=str(folder), resume=True, key=key, lineage=key).loss
        for folder, key in ((newest, "33333333"), (still, "44444444"))
    ]
    assert losses[0] != losses[1]


@pytest.mark.training
def test_a_checkpoint_that_is_copied_into_a_lineage_with_its_own_is_named_in_the_status(workspace: Workspace) -> None:
    workspace.train(maxEpochs=1)
    write_tensors(workspace.lineage / "train-8", tensors_of(GEOMETRY))
    run = workspace.run(attempt=2, key="33333333", maxEpochs=1)
    assert run.output.epoch == 1
    warning = run.progress[-1]["warning"]
    assert "also has checkpoints of another program or training: train-8; move them to a folder outside of" in warning


@pytest.mark.training
def test_training_begins_with_the_averages_of_our_best_checkpoint_and_its_width(workspace: Workspace) -> None:
    first = workspace.train(maxEpochs=2)
    assert first.settings is not None
    begun = {"initFrom": str(workspace.lineage), "lineage": "44444444", "key": "33333333"}
    tiny = {"learningRate": 1e-9}
    second = workspace.train(maxEpochs=1, hyperparameters=tiny, **begun)
    assert second.settings is not None
    assert second.settings.hidden_units == first.settings.hidden_units == 32
    saved = [*workspace.lineage.glob("best-*"), *workspace.lineage.glob("step-*")]
    best = min(saved, key=lambda folder: dev_loss(folder))
    newest = max((workspace.path / "checkpoints" / "44444444").glob("step-*"))
    for name, shape in Geometry(32, len(ALPHABET)).weight_shapes().items():
        stored = name if best.name.startswith("best-") else average_of(name)
        theirs = read_tensors(best / "model", {stored: shape})[stored]
        ours = read_tensors(newest / "model", {name: shape})[name]
        assert np.asarray(ours, np.float32) == pytest.approx(np.asarray(theirs, np.float32), abs=1e-6)
    assert second.step == 1, "steps are counted from 0"


@pytest.mark.training
def test_training_continues_when_the_checkpoint_that_it_began_with_is_gone(
    workspace: Workspace, upstream: Path, stop_at: Callable[[int], None]
) -> None:
    begun = {"initFrom": str(upstream), "hyperparameters": {"batchSize": 4}}
    stop_at(2)
    with pytest.raises(Stopped):
        workspace.train(maxEpochs=1, **begun)
    stop_at(0)
    for file in upstream.glob("*-*"):
        file.unlink()
    output = workspace.train(maxEpochs=1, attempt=2, **begun)
    assert output.settings is not None
    assert (output.epoch, output.settings.hidden_units) == (1, GEOMETRY.hidden_units)


def test_a_download_that_is_gone_is_downloaded_again(workspace: Workspace) -> None:
    with pytest.raises(ArtefactMissing, match="sources/0000000a is missing; it is downloaded again"):
        workspace.train(maxEpochs=1, initFrom=str(workspace.path / "sources/0000000a"))


@pytest.mark.training
def test_a_checkpoint_that_cannot_be_used_leaves_no_choice_behind(workspace: Workspace, upstream: Path) -> None:
    wrong = upstream.parent / "wrong"
    wrong.mkdir()
    write_tensors(wrong / "best_dev-1", tensors_of(Geometry(20, 3)))
    with pytest.raises(InitialCheckpointUnusable):
        workspace.train(maxEpochs=1, initFrom=str(wrong), hyperparameters={})
    output = workspace.train(maxEpochs=1, initFrom=str(upstream), hyperparameters={})
    assert output.settings is not None and output.settings.hidden_units == GEOMETRY.hidden_units


def dev_loss(folder: Path) -> float:
    record = json.loads((folder / "state.json").read_text())["history"][-1]
    loss: float = record["devLoss"]
    return loss
