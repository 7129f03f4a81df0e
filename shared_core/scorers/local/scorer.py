"""The local scorer, on transformers and torch: one packed forward for many documents."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import torch
from tqdm.auto import tqdm

from shared_core.errors import ClosedError, DeviceMemoryError, ForkedProcessError, ScoringError
from shared_core.forking import ForkGuard, renew_in_children
from shared_core.images.content import Content, text_of
from shared_core.options import RerankerOptions
from shared_core.prompt import render_fields
from shared_core.prompt.encodable import check_encodable
from shared_core.prompt.encoding import EncodedGroup
from shared_core.scorers.local.calls import Call
from shared_core.scorers.local.checkpoints.model_source import may_read_images
from shared_core.scorers.local.devices import current
from shared_core.scorers.local.loading import LoadedModel, load_model
from shared_core.scorers.local.memory import give_back, keep_buffers
from shared_core.scorers.local.packing import Pack, build_pack, plan_packs
from shared_core.scorers.local.process_settings import computed, own_settings
from shared_core.scorers.local.threads import choose_threads, computing_with
from shared_core.scoring import Scored, ScoreRequest
from shared_core.windows.meters import EncoderMeter
from shared_core.worker import Job, Worker

logger = logging.getLogger("qwen3_rerank")

# Documents tokenised in one step of a call.
_SLICE = 256


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
            show_progress: Show a progress bar over the packs.

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
            for request in requests:
                groups += [(yield from _encoding(call, request))]
            margins = yield from self._running_packs(loaded, call, groups, show_progress)
        finally:
            self._calls -= 1
        return [
            [
                Scored(margins[g, d], document.n_tokens, document.truncated)
                for d, document in enumerate(group.documents)
            ]
            for g, group in enumerate(groups)
        ]

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
        elif _is_in_bad_fork(self._loaded.device):
            raise ForkedProcessError(f"its parent has the model on {self._loaded.device}")
        return self._loaded

    def _read(self) -> LoadedModel:
        try:
            with own_settings():
                return load_model(self._options)
        except Exception as error:
            if torch.cuda._is_in_bad_fork():
                raise ForkedProcessError("its parent used CUDA") from error
            if any(map(_is_out_of_memory, (error, error.__cause__))):
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
            _empty_cache(device)
            give_back()

    def _running_packs(
        self,
        loaded: LoadedModel,
        call: Call,
        groups: Sequence[EncodedGroup],
        show_progress: bool,
    ) -> Job[dict[tuple[int, int], float]]:
        """Return the margin of every (group, document) pair, halving packs that do not fit."""
        budget = self._max_batch_tokens or loaded.batch_tokens
        waiting = plan_packs(groups, budget)[::-1]
        margins: dict[tuple[int, int], float] = {}
        n_packs = len(waiting)
        # No bar unless it is shown: it takes a lock that processes share.
        with (
            tqdm(total=n_packs, desc="rerank", unit="pack") if show_progress else nullcontext()
        ) as progress:
            while waiting:
                documents = waiting.pop()
                pack = build_pack(groups, documents)
                scores = None
                if len(documents) == 1 or len(pack.ids) <= budget:
                    scores = self._try_forward(loaded, call, pack)
                    if scores is None:
                        budget = self._halve_budget(loaded, len(pack.ids))
                if scores is None:
                    middle = len(documents) // 2
                    waiting += [documents[middle:], documents[:middle]]
                    n_packs += 1
                    if progress is not None:
                        progress.total = n_packs
                    continue
                margins.update(zip(documents, scores, strict=True))
                call.scored(groups, documents)
                if progress is not None:
                    progress.update()
                if waiting:
                    yield
        return margins

    def _try_forward(self, loaded: LoadedModel, call: Call, pack: Pack) -> list[float] | None:
        """Return the margins of the pack's documents, or ``None`` if memory ran out.

        Raises:
            DeviceMemoryError: Memory ran out on a single document.
            ScoringError: The forward failed otherwise.
        """
        on_cpu = loaded.device.type == "cpu"
        try:
            with computing_with(self._threads) if on_cpu else nullcontext():
                pack.inserted = call.inserted(pack, loaded.device)
                return _forward(loaded, pack)
        except (RuntimeError, MemoryError) as error:
            if not _is_out_of_memory(error):
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
        _empty_cache(loaded.device)
        logger.warning(
            "out of memory on %s with %d tokens in a pack: halved, and max_batch_tokens=%d from "
            "now on",
            loaded.device,
            pack_tokens,
            budget,
        )
        return budget


def _encoding(call: Call, request: ScoreRequest) -> Job[EncodedGroup]:
    """Return a request's token ids, in steps of a slice of its documents."""
    fields = render_fields(request.instruction, text_of(request.query))
    check_encodable(fields, list(map(text_of, request.documents)))
    group = call.encode(request.instruction, request.query, request.documents[:_SLICE])
    for start in range(_SLICE, len(request.documents), _SLICE):
        yield
        documents = request.documents[start : start + _SLICE]
        group.documents.extend(
            call.encode(request.instruction, request.query, documents, start).documents
        )
    return group


def _is_in_bad_fork(device: torch.device) -> bool:
    """Return whether the parent process's data on a device is out of reach."""
    if device.type == "cuda":
        return torch.cuda._is_in_bad_fork()
    return device.type == "mps" and torch.mps._is_in_bad_fork()


def _empty_cache(device: torch.device) -> None:
    """Give torch's unused memory of a device back."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def _placement(loaded: LoadedModel) -> str:
    return f"device {loaded.device}, dtype {str(loaded.dtype).removeprefix('torch.')}"


@torch.inference_mode()
def _forward(loaded: LoadedModel, pack: Pack) -> list[float]:
    """Return the margins of the pack's documents, in its order."""

    def margins() -> list[float]:
        with current(loaded.device):
            return (loaded.backbone.last_hidden(pack) @ loaded.margin_weight).tolist()

    return computed(margins)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether torch ran out of memory; on CPU and MPS that is a plain RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    message = str(error).lower()
    return "out of memory" in message or "can't allocate memory" in message
