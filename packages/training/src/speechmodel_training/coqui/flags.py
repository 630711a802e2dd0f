"""The command lines of Coqui. Its flags are described in coqui_stt_training/util/config.py of that package."""

from pathlib import Path

from speechmodel_api.augmentation import ValueRange, parse
from speechmodel_api.learning import LearningSettings
from speechmodel_api.stages.train import TrainInput
from speechmodel_api.workspace import ALPHABET, GRAPH, Workspace, part_table
from speechmodel_stagekit.cpus import available_cpus
from speechmodel_stagekit.dataset import Part

_NAMES = {"warp": {"nt": "num_t", "nf": "num_f", "wt": "warp_t", "wf": "warp_f"}}
"""Parameters of augmentations that DeepSpeech and Coqui name differently."""


def train_flags(
    document: TrainInput,
    settings: LearningSettings,
    folder: Path,
    *,
    epochs: int,
    batch_size: int,
    dev: bool,
    load: str,
    set_rate: bool,
) -> list[str]:
    """Return the flags of coqui_stt_training.train for `epochs` more epochs in the folder of a lineage.

    `dev` tells whether there are dev clips, `load` is `last` or `init`, and `set_rate` sets the learning rate that
    is otherwise that of the checkpoint.
    """
    data = Workspace(document.workspace).data(document.data_key)
    flags: dict[str, object] = {
        # Coqui takes a path in a table relative to the table
        "train_files": data / part_table(Part.TRAIN),
        "alphabet_config_path": data / ALPHABET,
        "checkpoint_dir": folder,
        "summary_dir": folder / "tensorboard",
        "load_train": load,
        "epochs": epochs,
        "n_hidden": settings.hidden_units,
        "layer_norm": settings.layer_norm,
        "train_batch_size": batch_size,
        "dev_batch_size": batch_size,
        "learning_rate": settings.learning_rate,
        "force_initialize_learning_rate": set_rate,
        "dropout_rate": settings.dropout,
        "random_seed": document.hyperparameters.seed,
        "checkpoint_secs": document.checkpoints.every_seconds,  # it saves nothing when it is stopped
        "max_to_keep": 0,  # all: it knows only those of its own run, and prune() knows which ends an epoch
        "normalize_sample_rate": False,  # prepared clips have it, and it takes a pool of processes
        "skip_batch_test": True,
        "show_progressbar": False,  # otherwise no line tells that an epoch is finished
        # TensorFlow 1.15 counts the CPUs of the machine, not those of the container
        "inter_op_parallelism_threads": available_cpus(),
        "intra_op_parallelism_threads": available_cpus(),
    }
    if dev:
        flags["dev_files"] = data / part_table(Part.DEV)
    if stop := document.early_stop:
        flags |= {"early_stop": True, "es_epochs": stop.patience, "es_min_delta": stop.min_delta}
    if plateau := document.reduce_on_plateau:
        flags |= {"reduce_lr_on_plateau": True, "plateau_epochs": plateau.patience, "es_min_delta": plateau.min_delta}
        flags["plateau_reduction"] = plateau.factor
    entries = () if isinstance(document.augmentation, str) else document.augmentation
    return [*_words(flags), *(("--augment", *map(augmentation, entries)) if entries else ())]


def export_flags(
    document: TrainInput, settings: LearningSettings, checkpoint: Path, load: str, target: Path
) -> list[str]:
    """Return the flags of coqui_stt_training.export for a checkpoint, `last` or `best`, in a folder."""
    flags: dict[str, object] = {
        "alphabet_config_path": Workspace(document.workspace).data(document.data_key) / ALPHABET,
        "checkpoint_dir": checkpoint,
        "load_evaluate": load,
        "n_hidden": settings.hidden_units,
        "layer_norm": settings.layer_norm,
        "export_dir": target,
        "export_file_name": Path(GRAPH).stem,
        "export_tflite": False,  # it would be another format
        "export_language": document.language,
    }
    return _words(flags)


def augmentation(entry: str) -> str:
    """Return an entry of `training.augmentation` in the words of Coqui, with every parameter."""
    parsed = parse(entry)
    names = _NAMES.get(parsed.name, {})
    values = {"p": f"{parsed.probability.start:g}"}
    values |= {names.get(name, name): _range(value) for name, value in parsed.parameters.items()}
    if parsed.domain:
        values["domain"] = parsed.domain
    return f"{parsed.name}[{','.join(f'{name}={value}' for name, value in values.items())}]"


def _range(value: ValueRange) -> str:
    return f"{value.start:.10g}:{value.end:.10g}~{value.radius:.10g}"


def _words(flags: dict[str, object]) -> list[str]:
    words: list[str] = []
    for name, value in flags.items():
        words += [f"--{name}", str(value).lower() if isinstance(value, bool) else str(value)]
    return words
