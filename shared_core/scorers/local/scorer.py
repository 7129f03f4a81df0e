"""The local scorer, on transformers and torch: one packed forward for many documents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import NoReturn, TypeVar

import torch
from torch import Tensor
from tqdm.auto import tqdm

from shared_core.errors import ClosedError, DeviceMemoryError, ForkedProcessError, ScoringError
from shared_core.forking import ForkGuard, renew_in_children
from shared_core.images.content import Content
from shared_core.options import RerankerOptions
from shared_core.prompt.encoding import EncodedGroup
from shared_core.scorers.local.calls import SLICE, Call, encoded
from shared_core.scorers.local.checkpoints.model_source import may_read_images
from shared_core.scorers.local.devices import current, is_in_bad_fork
from shared_core.scorers.local.loading import LoadedModel, load_model
from shared_core.scorers.local.memory import (
    empty_cache,
    give_back,
    is_out_of_memory,
    keep_buffers,
)
from shared_core.scorers.local.packing import Pack, build_pack, plan_packs
from shared_core.scorers.local.process_settings import computed, own_settings
from shared_core.scorers.local.threads import choose_threads, computing_with
from shared_core.scoring import Scored, ScoreRequest
from shared_core.windows.meters import EncoderMeter
from shared_core.worker import Job, Worker

logger = logging.getLogger("qwen3_rerank")

Step = TypeVar("Step")


class TransformersScorer:
    """Scores with a local checkpoint, loaded by the first call and shared by all.

    One worker does all that needs torch: it loads, tokenises and computes, one pack of one call
    after one of another, so that a short call never waits for a long one's end.

    Args:
        options: Names the checkpoint, the device and the bounds.
    """

    def __init__(self, options: RerankerOptions) -> None:
        self._options = options
        self._guard = ForkGuard()
        self._worker = Worker("qwen3-rerank-model", self._guard)
        # What follows is changed by the worker alone.
        self._loaded: LoadedModel | None = None
        self._max_batch_tokens = options.max_batch_tokens
        self._threads = 1
        self._calls = 0  # that compute with the model
        self._unloads = 0  # that wait for these calls
        renew_in_children(self)

    def renew(self) -> None:
        """Reset the calls in progress; see `shared_core.forking`."""
        self._calls = self._unloads = 0

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._loaded is not None

    @property
    def takes_images(self) -> bool:
        """Whether the model reads images; before it is loaded, as far as its folder tells."""
        loaded = self._loaded
        return may_read_images(self._options.model) if loaded is None else loaded.reads_images

    def load(self) -> LoadedModel:
        """Return the model, loaded once for all threads."""
        loaded = self._loaded
        return self._worker.run(self._loading()) if loaded is None else loaded

    async def aload(self) -> LoadedModel:
        """`load` without blocking the event loop."""
        loaded = self._loaded
        return await self._worker.arun(self._loading()) if loaded is None else loaded

    @property
    def placement(self) -> str:
        """Device and dtype in words; a model that is not loaded yet is loaded."""
        return _placement(self.load())

    def token_meter(self) -> EncoderMeter:
        """Return the token counter; it does not wait for a forward in progress."""
        return EncoderMeter(self.load().encoder)

    def unload(self) -> None:
        """Free the weights, after the calls in progress; the next call reads them again."""
        if self._worker.is_started:
            with suppress(ClosedError):  # then it is freed
                self._worker.run(self._unloading())

    def close(self) -> None:
        """Free the weights for good, after the forward in progress."""
        self._worker.close()
        self._free()

    def score(
        self, query: str | Content, documents: Sequence[str | Content], *, instruction: str
    ) -> list[float]:
        """Return the margin of each document, in input order. See `score_many`."""
        (scored,) = self.score_many([ScoreRequest(query, instruction, documents)])
        return [result.logit for result in scored]

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Args:
            requests: Queries with their documents; several queries may share a forward.
            show_progress: Show a progress bar over the documents.

        Raises:
            ModelLoadError: The first call could not load the model.
            QueryTooLongError, TextEncodingError: A text cannot be put into the prompt.
            ImageError: Images do not fit into it, or the model reads text alone.
            DeviceMemoryError: A single document does not fit in memory.
            ScoringError: The forward failed.
            ForkedProcessError: The parent of this process had the model, and it cannot be used.
            ClosedError: The scorer was closed before or meanwhile.
        """
        return self._worker.run(self._scoring(requests, show_progress))

    async def ascore_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """`score_many` without blocking the event loop; if cancelled, the next pack is the last."""
        return await self._worker.arun(self._scoring(requests, show_progress))

    def _scoring(
        self, requests: Sequence[ScoreRequest], show_progress: bool
    ) -> Job[list[list[Scored]]]:
        loaded = yield from self._loading()
        self._calls += 1
        try:
            call = loaded.begin()
            groups: list[EncodedGroup] = []
            of_request: list[int] = []  # of each group

            def encoding() -> Iterator[EncodedGroup]:
                for number, group in encoded(call, requests):
                    groups.append(group)
                    of_request.append(number)
                    yield group

            source: Iterable[EncodedGroup] = encoding()
            # A CPU computes nothing meanwhile, so mistakes come first; and an image is kept until
            # the last document with it is scored, of all that are encoded.
            if loaded.device.type == "cpu" or loaded.reads_images:
                for group in source:
                    if len(group.documents) == SLICE:
                        yield
                source = groups
            n_documents = sum(len(request.documents) for request in requests)
            # No bar unless it is shown: it takes a lock that processes share.
            with (
                tqdm(total=n_documents, desc="rerank", unit="doc")
                if show_progress
                else nullcontext()
            ) as progress:
                margins = yield from self._running_packs(loaded, call, groups, source, progress)
        finally:
            self._calls -= 1
        scored: list[list[Scored]] = [[] for _ in requests]
        for g, (number, group) in enumerate(zip(of_request, groups, strict=True)):
            scored[number] += [
                Scored(margins[g, d], document.n_tokens, document.truncated)
                for d, document in enumerate(group.documents)
            ]
        return scored

    def _loading(self) -> Job[LoadedModel]:
        while self._unloads:
            yield
        if self._guard.is_torn:
            raise ForkedProcessError("its parent was loading the model or computing with it")
        if self._loaded is None:
            loaded = self._read()
            self._threads = choose_threads(self._options.threads, loaded.backbone.n_weights)
            self._loaded = loaded
            if loaded.device.type == "cpu":
                keep_buffers()
            logger.info("%s is loaded: %s", self._options.model, _placement(self._loaded))
        elif is_in_bad_fork(self._loaded.device):
            raise ForkedProcessError(f"its parent has the model on {self._loaded.device}")
        return self._loaded

    def _read(self) -> LoadedModel:
        try:
            with own_settings():
                return load_model(self._options)
        except Exception as error:
            if torch.cuda._is_in_bad_fork():
                raise ForkedProcessError("its parent used CUDA") from error
            if any(map(is_out_of_memory, (error, error.__cause__))):
                raise DeviceMemoryError(
                    f"the model {self._options.model!r} does not fit in memory: use a smaller one, "
                    f"a smaller dtype or another device ({error})"
                ) from error
            raise

    def _unloading(self) -> Job[None]:
        self._unloads += 1
        try:
            while self._calls:
                yield
            self._free()
        finally:
            self._unloads -= 1

    def _free(self) -> None:
        loaded, self._loaded = self._loaded, None
        self._max_batch_tokens = self._options.max_batch_tokens
        if loaded is not None:
            device = loaded.device
            del loaded
            empty_cache(device)
            give_back()

    def _running_packs(
        self,
        loaded: LoadedModel,
        call: Call,
        groups: Sequence[EncodedGroup],
        source: Iterable[EncodedGroup],
        progress: tqdm[NoReturn] | None,
    ) -> Job[dict[tuple[int, int], float]]:
        """Return the margin of every (group, document) pair, halving packs that do not fit.

        A pack is encoded and planned while the one before is computed, and starts when that one's
        margins are there: the device waits for neither, and a cancelled call starts no pack more.

        Args:
            loaded: The model.
            call: The call.
            groups: The groups, of which there may be more when ``source`` gives one.
            source: Gives the same groups, one after another.
            progress: Told of every document that is scored.
        """
        budget = self._max_batch_tokens or loaded.batch_tokens
        planned = plan_packs(source, budget)
        halves: list[list[tuple[int, int]]] = []
        margins: dict[tuple[int, int], float] = {}
        started: tuple[Pack, Tensor] | None = None

        def halve(documents: list[tuple[int, int]]) -> None:
            middle = len(documents) // 2
            halves.extend([documents[middle:], documents[:middle]])

        while True:
            documents = halves.pop() if halves else next(planned, None)
            pack = None if documents is None else _planned(loaded, groups, documents)
            if started is not None:
                (before, found), started = started, None
                scores = self._tried(loaded, before, found.tolist)
                if scores is None:
                    budget = self._halve_budget(loaded, len(before.ids))
                    halve(before.documents)
                else:
                    margins.update(zip(before.documents, scores, strict=True))
                    call.scored(groups, before.documents)
                    if progress is not None:
                        progress.update(len(scores))
            if pack is None:
                if halves:
                    continue
                return margins
            if margins:
                yield
            if len(pack.documents) == 1 or len(pack.ids) <= budget:
                values = self._tried(loaded, pack, partial(self._start, loaded, call, pack))
                if values is None:
                    budget = self._halve_budget(loaded, len(pack.ids))
                else:
                    started = pack, values
            if started is None:
                halve(pack.documents)
            elif loaded.device.type != "cpu":
                yield  # meanwhile others are encoded, planned and put behind it

    def _start(self, loaded: LoadedModel, call: Call, pack: Pack) -> Tensor:
        """Return the margins of a pack's documents, which a device may still compute."""
        on_cpu = loaded.device.type == "cpu"
        try:
            with computing_with(self._threads) if on_cpu else nullcontext():
                pack.inserted = call.inserted(pack, loaded.device)
                return _forward(loaded, pack)
        finally:
            pack.inputs = pack.inserted = None

    def _tried(self, loaded: LoadedModel, pack: Pack, step: Callable[[], Step]) -> Step | None:
        """Return the result of a step of a pack's forward, or ``None`` if memory ran out.

        Raises:
            DeviceMemoryError: Memory ran out on a single document.
            ScoringError: The forward failed otherwise.
        """
        try:
            return step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise ScoringError(f"the forward pass failed: {error}") from error
            if len(pack.documents) == 1:
                raise DeviceMemoryError(
                    f"a single document of {len(pack.ids)} prompt tokens does not fit in the "
                    f"memory of {loaded.device}: lower max_length, or use a smaller model or dtype"
                ) from error
        return None

    def _halve_budget(self, loaded: LoadedModel, pack_tokens: int) -> int:
        """Return half of the budget that did not fit; later packs use it too."""
        budget = self._max_batch_tokens = max(1, pack_tokens // 2)
        empty_cache(loaded.device)
        logger.warning(
            "out of memory on %s with %d tokens in a pack: halved, and max_batch_tokens=%d from "
            "now on",
            loaded.device,
            pack_tokens,
            budget,
        )
        return budget


def _placement(loaded: LoadedModel) -> str:
    return f"device {loaded.device}, dtype {str(loaded.dtype).removeprefix('torch.')}"


def _planned(
    loaded: LoadedModel, groups: Sequence[EncodedGroup], documents: Sequence[tuple[int, int]]
) -> Pack:
    """Return a pack with what its forward reads on its way to the device."""
    pack = build_pack(groups, documents)
    with suppress(RuntimeError, MemoryError), current(loaded.device):  # its forward tries again
        pack.inputs = loaded.forward.plan(pack)
    return pack


@torch.inference_mode()
def _forward(loaded: LoadedModel, pack: Pack) -> Tensor:
    """Return the margins of the pack's documents, in its order, Shape (n,) float32."""

    def margins() -> Tensor:
        with current(loaded.device):
            return loaded.forward.last_hidden(pack) @ loaded.margin_weight

    return computed(margins)
