"""`speechmodel run`: from a manifest to a model that is published and, with --serve, served on this machine."""

import asyncio
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text
from speechmodel_api.spec import Serving
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import ConditionType, SpeechModelStatus, StageState
from speechmodel_api.workspace import SELFTEST

from speechmodel_cli import DEFAULT_STATE
from speechmodel_cli.display import Display, Terminal, board_for
from speechmodel_cli.drive import drive
from speechmodel_cli.errors import CommandError
from speechmodel_cli.listen import listen, read_spoken
from speechmodel_cli.local.engine import LocalEngine
from speechmodel_cli.local.errors import LocalError
from speechmodel_cli.local.model import LocalModel, read_claims
from speechmodel_cli.local.object_store import ObjectStore
from speechmodel_cli.local.published import fetched
from speechmodel_cli.local.server import LocalServer
from speechmodel_cli.local.state import ModelState
from speechmodel_cli.manifest.problems import ManifestInvalid
from speechmodel_cli.manifest.reading import read_manifests
from speechmodel_cli.published import open_store
from speechmodel_cli.summary import show_summary, show_table

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class RunOptions:
    """The arguments of run."""

    manifest: Path
    state: Path
    claims: Mapping[str, Path] = field(default_factory=dict)
    s3: str = "embedded"
    serve: bool = False
    port: int = 8080
    listen: Path | None = None


def run(options: RunOptions) -> int:
    """Carry out the manifest and return the exit code."""
    console = Terminal()
    try:
        model = _read_model(options)
        state = ModelState(options.state / model.name)
        with state.owned():
            return asyncio.run(_Run(options, model, state, console).run())
    except (ManifestInvalid, CommandError, LocalError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _read_model(options: RunOptions) -> LocalModel:
    manifests = read_manifests(options.manifest)
    if len(manifests) != 1:
        names = ", ".join(manifest.name for manifest in manifests)
        raise CommandError(f"{options.manifest} holds several SpeechModels ({names}); run a file that holds one")
    (manifest,) = manifests
    folder = options.manifest.absolute().parent
    model = LocalModel(manifest.name, manifest.namespace, manifest.spec, folder, options.claims)
    read = read_claims(model.spec)
    if unknown := sorted(set(options.claims) - set(read)):
        known = ", ".join(read) or "none"
        raise CommandError(
            f"--claim {unknown[0]}: {options.manifest} reads no claim of this name (claims: {known}); correct it"
        )
    return model


class _Run:
    """Runs the command once."""

    def __init__(self, options: RunOptions, model: LocalModel, state: ModelState, console: Console) -> None:
        self._options, self._model, self._state, self._console = options, model, state, console
        self._spoken = read_spoken(options.listen) if options.listen else []
        self._signal: int | None = None
        self._taken: list[signal.Signals] = []

    async def run(self) -> int:
        store = open_store(self._options.state, self._model.spec.publish.s3, self._options.s3)
        self._list_fields_without_effect(store)
        board = board_for(self._console)
        display = Display(board)
        spec = self._model.spec
        serving = spec.serving or Serving()
        bucket = spec.dataset.source.s3
        dataset = bucket.location if bucket else self._model.dataset
        server = LocalServer(self._state, store, spec.publish.s3, self._options.port, serving, dataset)
        async with LocalEngine(
            self._model, self._state, store, display, server if self._options.serve else None
        ) as engine:
            self._take_signals(engine)
            with board:
                driving = asyncio.create_task(drive(engine))
                ready = asyncio.create_task(display.ready.wait())
                await asyncio.wait({driving, ready}, return_when=asyncio.FIRST_COMPLETED)
                ready.cancel()
            if display.ready.is_set():
                if not self._options.serve:
                    self._leave_signals()
                await self._conclude(engine, display, store)
            await driving
        return 0 if engine.status.in_effect else self._unfinished(engine)

    async def _conclude(self, engine: LocalEngine, display: Display, store: ObjectStore) -> None:
        """Show the published model once it matches the manifest, or why the one before it is still served."""
        status, server = engine.status, engine.server
        if stalled := status.condition(ConditionType.STALLED):
            self._print(f"{self._model.name}: {stalled.reason}: {stalled.message}")
        elif display.began == 0:
            version = status.model.version if status.model else ""
            self._print(f"nothing to do: version {version} of {self._model.name} already matches the manifest")
        if stalled is None:
            show_summary(self._console, self._state, status)
        if self._options.listen is not None and status.model is not None:
            folder = await fetched(self._state, status.model, store, self._model.spec.publish.s3)
            dataset, wanted = self._model.spec.dataset, self._state.engine
            clips = await asyncio.to_thread(listen, folder, self._spoken, dataset, wanted)
            show_table(self._console, f"unseen voices in {self._options.listen}", clips)
        if server is not None and status.model is not None:
            clip = self._state.published / status.model.version / SELFTEST
            self._print(f"serving on {server.url} (press Ctrl-C to stop); open it in a browser, or try")
            self._print(f"  curl -F file=@{shown(clip)} {server.url}/v1/audio/transcriptions")
        else:
            self._print(f"serve it with   {self._again('--serve')}")

    def _unfinished(self, engine: LocalEngine) -> int:
        status = engine.status
        if self._signal is not None:
            self._print(f"interrupted: {_saved(status)}; run `{self._again()}` to continue")
            return 128 + self._signal
        if engine.suspended:
            self._print("suspended by the manifest (spec.suspend): no stage runs, and all saved work is kept")
            return 0
        raise CommandError(_failure(self._state, status))

    def _take_signals(self, engine: LocalEngine) -> None:
        """Let a stage save its work on Ctrl-C, SIGTERM and a closed terminal, and kill it on the second of them.

        A signal that the caller had switched off, as nohup does, stays off.
        """

        def interrupt(number: int) -> None:
            self._signal = number
            if engine.interrupted:
                self._print("killing the running stage")
            elif engine.busy:
                serving = engine.server is not None and engine.server.running
                self._print(
                    "stopping the server"
                    if serving
                    else "stopping: the running stage saves its work; interrupt again to kill it"
                )
            engine.interrupt()

        self._taken = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        for number in self._taken:
            asyncio.get_running_loop().add_signal_handler(number, interrupt, number)

    def _leave_signals(self) -> None:
        for number in self._taken:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _list_fields_without_effect(self, store: ObjectStore) -> None:
        if fields := self._model.without_effect(store, serve=self._options.serve):
            self._console.print(
                Text(f"fields without effect on this machine: {', '.join(fields)}", style="dim"), soft_wrap=True
            )

    def _again(self, *more: str) -> str:
        """Return the command line that continues this run."""
        state = () if self._options.state == DEFAULT_STATE else ("--state", str(self._options.state))
        s3 = () if self._options.s3 == "embedded" else ("--s3", self._options.s3)
        claims = (part for name, folder in self._options.claims.items() for part in ("--claim", f"{name}={folder}"))
        return shlex.join((_program(), "run", str(self._options.manifest), *claims, *state, *s3, *more))

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)


def _saved(status: SpeechModelStatus) -> str:
    entry = next((e for e in reversed(status.stages) if e.state is StageState.WAITING), None)
    if entry is None:
        return "no stage ran"
    if entry.name is StageName.TRAIN and status.training is not None:
        return f"training is saved after {status.progress} epochs"
    return f"{entry.name.value} was stopped"


def _failure(state: ModelState, status: SpeechModelStatus) -> str:
    """Return the reason why the model is not ready, and the path of the log."""
    why = status.condition(ConditionType.STALLED) or status.condition(ConditionType.READY)
    text = f"{state.name}: {why.reason}: {why.message}" if why else f"{state.name} is not ready"
    failed = next((e for e in status.stages if e.state is StageState.FAILED), None)
    return f"{text}\nlog: {shown(state.runs / failed.job / 'log')}" if failed and failed.job else text


def shown(path: Path) -> Path:
    """Return the path relative to the current folder if it is below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _program() -> str:
    """Return the command's name if it is in PATH, or else the path of the program."""
    return "speechmodel" if shutil.which("speechmodel") else str(shown(Path(sys.argv[0]).absolute()))
