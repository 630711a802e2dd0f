"""The workers of one training: processes that train the same weights, each on its share of every batch.

The environment variable TF_CONFIG names the address of every worker and the index of this one, in the format of
TensorFlow. Sums over the workers are TensorFlow's collective operations (decision 27). The first worker alone
reads checkpoints, saves and reports; the others receive everything from it.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from copy import deepcopy
from enum import IntEnum
from typing import Any, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from pydantic import BaseModel, ValidationError
from speechmodel_api.base import Document
from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import BadInput, Stopped, TryAgain
from speechmodel_stagekit.program import stop_requested
from tensorflow.core.protobuf.tensorflow_server_pb2 import ServerDef
from tensorflow.python.eager import context

from speechmodel_training.errors import WorkerLost, WorkerMissing
from speechmodel_training.tensorflow_errors import quoted

log = logging.getLogger(__name__)

VARIABLE = "TF_CONFIG"
STARTED_WITHIN = 600.0
"""Seconds in which every worker must have started, since a node may have to be added for it, and in which the first
one must have read its checkpoint."""
SUMMED_WITHIN = 300.0
"""Longest time in seconds that a step waits for a worker that can be reached: one that hangs, or is that much slower."""
_LOST_AFTER = 10.0
"""Seconds for which a worker accepts no connection before it counts as lost."""
_POLL = 1.0
_CONNECTED_WITHIN = 2.0
_LEADER = "/job:worker/replica:0/task:0"

_BROKEN = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)
"""Errors of a collective operation in which a worker is missing."""

Array = npt.NDArray[Any]
Tensor: TypeAlias = tf.Tensor | Array
Result = TypeVar("Result")
DocumentT = TypeVar("DocumentT", bound=Document)


class Sum(IntEnum):
    """The first key of the collective operations of a place in the program. Keys below the next one are its own."""

    STEP = 1_000
    MEASURE = 2_000
    SHARED = 10_000


class _Cluster(BaseModel):
    worker: tuple[str, ...]


class _Task(BaseModel):
    index: int


class _Config(BaseModel):
    """The part of TF_CONFIG that is used."""

    cluster: _Cluster
    task: _Task


class Workers:
    """The workers, as one of them sees them. With a single one, nothing is exchanged."""

    def __init__(self, addresses: Sequence[str] = ("",), index: int = 0) -> None:
        self._addresses, self.index = tuple(addresses), index
        self._keys = iter(range(Sum.SHARED, 2**31))
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="workers")
        self._agreed = False

    @property
    def count(self) -> int:
        """Number of workers."""
        return len(self._addresses)

    @property
    def leads(self) -> bool:
        """True for the first worker."""
        return self.index == 0

    @property
    def stopping(self) -> bool:
        """True once this worker was asked to stop, if it is the only one. Several stop after the same step, so it is True
        once the newest step has told all of them that one was asked.
        """
        return self._agreed if self.count > 1 else stop_requested.is_set()

    def join(self) -> None:
        """Start, and wait until every worker has started. Raises WorkerMissing, Stopped and TryAgain."""
        if self.count > 1:
            self._start_server()
            log.info("worker %d of %d waits for the others", self.index, self.count)
            self.wait_until_all_started()

    def wait_until_all_started(self) -> None:
        """Wait for the port of every worker. Raises WorkerMissing and Stopped."""
        began = time.monotonic()
        while missing := sorted(set(range(self.count)) - set(self._reachable())):
            if stop_requested.is_set():
                raise Stopped(f"stopped while waiting for {self._named(missing)}; nothing was trained")
            if time.monotonic() - began > STARTED_WITHIN:
                raise WorkerMissing(self._named(missing), STARTED_WITHIN)
            time.sleep(_POLL)

    def run(self, step: Callable[[tf.Tensor], tuple[Result, tf.Tensor]]) -> Result:
        """Run a step that sums over the workers, and return its result.

        The step receives 1 if this worker was asked to stop, and returns the sum of that over the workers beside its
        result. Raises WorkerLost.
        """
        asked = tf.constant(float(stop_requested.is_set()), tf.float64)
        if self.count == 1:
            return step(asked)[0]
        result, total = self._waited_for(lambda: step(asked))
        self._agreed = float(total) > 0
        return result

    def totals(self, tensors: Sequence[tf.Tensor], key: int, seconds: float = SUMMED_WITHIN) -> list[tf.Tensor]:
        """Return the sum over the workers of each tensor. The keys from `key` on must be used for nothing else.

        Tensors of one type are summed together, and all workers get the same bits. Used as a part of a compiled
        function, which must not change any variable before all sums are there. The shapes must be known.
        """
        if self.count == 1:
            return list(tensors)
        summed: dict[int, tf.Tensor] = {}
        for number, kind in enumerate(dict.fromkeys(tensor.dtype for tensor in tensors)):
            places = [place for place, tensor in enumerate(tensors) if tensor.dtype == kind]
            packed = tf.concat([tf.reshape(tensors[place], [-1]) for place in places], axis=0)
            with tf.control_dependencies(list(summed.values())):
                total = self._total(packed, key + number, seconds)
            parts = tf.split(total, [tensors[place].shape.num_elements() for place in places])
            summed |= {place: tf.reshape(part, tensors[place].shape) for place, part in zip(places, parts, strict=True)}
        return [summed[place] for place in range(len(tensors))]

    def shared(self, kind: type[DocumentT], document: DocumentT | None = None) -> DocumentT:
        """Return the document of the first worker, which alone gives one. Raises WorkerLost, and Stopped before it
        is there.
        """
        if self.count == 1:
            assert document is not None
            return document
        text = document.model_dump_json(by_alias=True).encode() if document else b""
        size = int(self._total_now(np.array(len(text), np.float64), stoppable=True))
        characters = np.frombuffer(text.ljust(size, b"\0"), np.uint8).astype(np.float64)
        return kind.model_validate_json(bytes(self._total_now(characters).astype(np.uint8)))

    def shared_tensors(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the tensors of the first worker. Those of the others have their names, types and shapes. Raises
        WorkerLost.
        """
        if self.count == 1:
            return tensors
        own: dict[str, Array] = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        return {name: self._total_now(value if self.leads else np.zeros_like(value)) for name, value in own.items()}

    def total_counts(self, *counts: int) -> list[int]:
        """Return the sum over the workers of each count. Raises WorkerLost."""
        if self.count == 1:
            return list(counts)
        return [int(count) for count in self._total_now(np.array(counts, np.float64))]

    def part(self) -> None:
        """Stay until every worker has the sums of the last step, which others receive from this one."""
        if self.count > 1:
            with suppress(WorkerLost):  # it has them, or nobody waits for it
                self._total_now(np.array(0.0))

    def _total_now(self, values: Array, *, stoppable: bool = False) -> Array:
        key = next(self._keys)
        total = tf.function(
            lambda tensor: self._total(tensor, key, STARTED_WITHIN), autograph=False
        ).get_concrete_function(tf.TensorSpec(values.shape, values.dtype))
        found: Array = self._waited_for(lambda: total(tf.constant(values)).numpy(), stoppable=stoppable)
        return found

    def _total(self, tensor: tf.Tensor, key: int, seconds: float) -> tf.Tensor:
        return tf.raw_ops.CollectiveReduceV2(
            input=tensor,
            group_size=self.count,
            group_key=1,
            instance_key=key,
            ordering_token=[],
            merge_op="Add",
            final_op="Id",
            communication_hint="auto",
            timeout_seconds=seconds,
        )

    def _waited_for(self, operation: Callable[[], Result], *, stoppable: bool = False) -> Result:
        """Return the result of an operation that needs every worker.

        It runs in a thread, since no signal is handled while the main thread waits for TensorFlow. When a worker
        cannot be reached, it is aborted. Raises WorkerLost when it fails, and Stopped when it is stoppable.
        """
        running, reached = self._thread.submit(operation), self._now(range(self.count))
        while not wait([running], timeout=_POLL).done:
            if stoppable and stop_requested.is_set():
                raise Stopped("stopped while waiting for the first worker; nothing was trained")
            reached |= self._now(self._reachable())
            if any(time.monotonic() - at > _LOST_AFTER for at in reached.values()):
                context.context().abort_collective_ops(tf.errors.UNAVAILABLE, "a worker cannot be reached")
        try:
            return running.result()
        except _BROKEN as error:
            lost = sorted(set(range(self.count)) - set(self._reachable()))
            raise WorkerLost(self._named(lost) if lost else "another worker", quoted(error)) from error

    def _reachable(self) -> list[int]:
        """Return the workers whose port accepts connections. The own port is not tried."""
        others = ((index, address) for index, address in enumerate(self._addresses) if index != self.index)
        return [self.index, *(index for index, address in others if _accepts(address))]

    def _now(self, indexes: Iterable[int]) -> dict[int, float]:
        return dict.fromkeys(indexes, time.monotonic())

    def _named(self, indexes: Iterable[int]) -> str:
        return " and ".join(f"worker {index} ({self._addresses[index]})" for index in indexes)

    def _start_server(self) -> None:
        """Start TensorFlow's server on the port of this worker. Must come before TensorFlow's first operation.

        MultiWorkerMirroredStrategy does this too, but with a coordination service that takes SIGTERM from the program
        and waits for the others without a limit (decision 27).
        """
        context.context().configure_collective_ops(
            collective_leader=_LEADER, device_filters=(f"/job:worker/task:{self.index}",)
        )
        server = ServerDef(
            cluster=tf.train.ClusterSpec({"worker": list(self._addresses)}).as_cluster_def(),
            default_session_config=deepcopy(context.context().config),
            job_name="worker",
            task_index=self.index,
            protocol="grpc",
        )
        server.default_session_config.experimental.collective_group_leader = _LEADER
        try:
            context.context().enable_collective_ops(server)
            context.context().ensure_initialized()
        except tf.errors.UnknownError as error:
            port = self._addresses[self.index]
            raise TryAgain(
                Reason.SYSTEM_ERROR,
                f"cannot listen on {port} ({quoted(error)}): another program probably uses this port; stop that program, or "
                "wait for the next attempt",
            ) from error


def configured_workers(count: int) -> Workers:
    """Return the workers that TF_CONFIG names, which must be `count`; it is not read for one. Raises BadInput."""
    if count == 1:
        return Workers()
    try:
        config = _Config.model_validate_json(os.environ.get(VARIABLE, ""))
    except ValidationError as error:
        raise BadInput(
            Reason.BAD_INPUT, f"{VARIABLE} does not name {count} workers: {error}; the operator sets it"
        ) from error
    addresses, index = config.cluster.worker, config.task.index
    if len(addresses) != count or not 0 <= index < count:
        raise BadInput(
            Reason.BAD_INPUT,
            f"{VARIABLE} names {len(addresses)} workers and the index {index}, but training.numWorkers is {count}; "
            "the operator sets it",
        )
    return Workers(addresses, index)


def _accepts(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECTED_WITHIN).close()
    except OSError:
        return False
    return True
