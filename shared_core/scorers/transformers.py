"""The local scorer: transformers and torch, one packed forward for many documents."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

import torch
from tqdm.auto import tqdm

from shared_core.encoding import EncodedGroup
from shared_core.errors import DeviceMemoryError, ScoringError
from shared_core.long_documents.meters import EncoderMeter
from shared_core.options import RerankerOptions
from shared_core.scorers.base import Scored, ScoreRequest
from shared_core.scorers.loading import LoadedModel, load_model
from shared_core.scorers.packing import Pack, build_pack, plan_packs

logger = logging.getLogger("qwen3_rerank")

# Tokens of one forward. More amortises reading the weights; fewer keeps activations in cache on a
# CPU and in memory on a GPU.
_DEFAULT_BATCH_TOKENS = {"cuda": 16384}


class TransformersScorer:
    """Scores with a local checkpoint, loaded by the first call and shared by all threads.

    Args:
        options: Names the checkpoint, the device and the bounds.
    """

    def __init__(self, options: RerankerOptions) -> None:
        self._options = options
        self._lock = threading.RLock()
        self._loaded: LoadedModel | None = None
        self._max_batch_tokens = options.max_batch_tokens

    @property
    def is_loaded(self) -> bool:
        """Whether the weights are in memory."""
        return self._loaded is not None

    def load(self) -> LoadedModel:
        """Return the model, reading it if need be: once, whatever the number of threads."""
        with self._lock:
            if self._loaded is None:
                self._loaded = load_model(self._options)
            return self._loaded

    def token_meter(self) -> EncoderMeter:
        """Return what measures documents; it does not wait for a forward in progress."""
        return EncoderMeter((self._loaded or self.load()).encoder)

    def unload(self) -> None:
        """Free the weights, after the forward in progress; the next call reads them again."""
        with self._lock:
            loaded, self._loaded = self._loaded, None
            self._max_batch_tokens = self._options.max_batch_tokens
            if loaded is not None and loaded.device.type == "cuda":
                del loaded
                torch.cuda.empty_cache()

    def score(self, query: str, documents: Sequence[str], *, instruction: str) -> list[float]:
        """Return the margin of each document, in input order. See `score_many`."""
        (scored,) = self.score_many([ScoreRequest(query, instruction, documents)])
        return [one.logit for one in scored]

    def score_many(
        self, requests: Sequence[ScoreRequest], *, show_progress: bool = False
    ) -> list[list[Scored]]:
        """Return one `Scored` per document of each request, in input order.

        Args:
            requests: Queries with their documents; several queries may share a forward.
            show_progress: Draw a bar over the packs.

        Raises:
            ModelLoadError: The first call could not load the model.
            QueryTooLongError, TextEncodingError: A text cannot be put into the prompt.
            DeviceMemoryError: A single document does not fit in memory.
            ScoringError: The forward failed.
        """
        loaded = self.load()
        groups = [
            loaded.encoder.encode(request.instruction, request.query, request.documents)
            for request in requests
        ]
        with self._lock:
            margins = self._run_packs(loaded, groups, show_progress)
        return [
            [
                Scored(margins[g, d], document.n_tokens, document.truncated)
                for d, document in enumerate(group.documents)
            ]
            for g, group in enumerate(groups)
        ]

    def _run_packs(
        self, loaded: LoadedModel, groups: Sequence[EncodedGroup], show_progress: bool
    ) -> dict[tuple[int, int], float]:
        """Return the margin of every (group, document) pair, halving packs that do not fit."""
        budget = self._max_batch_tokens or _DEFAULT_BATCH_TOKENS.get(loaded.device.type, 4096)
        waiting = plan_packs(groups, budget)[::-1]
        margins: dict[tuple[int, int], float] = {}
        n_packs = len(waiting)
        with tqdm(total=n_packs, desc="rerank", unit="pack", disable=not show_progress) as progress:
            while waiting:
                documents = waiting.pop()
                pack = build_pack(groups, documents)
                scores = None
                if len(documents) == 1 or len(pack.ids) <= budget:
                    scores = self._try_forward(loaded, pack)
                    if scores is None:
                        budget = self._halve_budget(loaded, len(pack.ids))
                if scores is None:
                    middle = len(documents) // 2
                    waiting += [documents[middle:], documents[:middle]]
                    n_packs += 1
                    progress.total = n_packs
                    continue
                margins.update(zip(documents, scores, strict=True))
                progress.update()
        return margins

    def _try_forward(self, loaded: LoadedModel, pack: Pack) -> list[float] | None:
        """Return the margins of the pack's documents, or ``None`` if memory ran out.

        Raises:
            DeviceMemoryError: It ran out on a single document.
            ScoringError: The forward failed otherwise.
        """
        try:
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
        """Return half of what did not fit, which is the budget of all later packs too."""
        budget = self._max_batch_tokens = max(1, pack_tokens // 2)
        if loaded.device.type == "cuda":
            torch.cuda.empty_cache()
        elif loaded.device.type == "mps":
            torch.mps.empty_cache()
        logger.warning(
            "out of memory on %s with %d tokens in a pack: halved, and max_batch_tokens=%d from "
            "now on",
            loaded.device,
            pack_tokens,
            budget,
        )
        return budget


@torch.inference_mode()
def _forward(loaded: LoadedModel, pack: Pack) -> list[float]:
    """Return the margins of the pack's documents, in its order."""
    margins: list[float] = (loaded.backbone.last_hidden(pack) @ loaded.margin_weight).tolist()
    return margins


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether torch ran out of memory; on CPU and MPS that is a plain RuntimeError."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    message = str(error).lower()
    return "out of memory" in message or "can't allocate memory" in message
