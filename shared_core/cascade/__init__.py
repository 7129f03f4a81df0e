"""`Cascade`: a quick model orders all documents, and a better one the best of them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shared_core.cascade.scorer import CascadeScorer
from shared_core.errors import ConfigurationError
from shared_core.options import Instruction, OnError
from shared_core.options.windows import WINDOW_OPTIONS, LongDocuments
from shared_core.reranker import Reranker

if TYPE_CHECKING:
    from shared_core.check.report import CheckReport

_OF_CALLS = WINDOW_OPTIONS | {"instruction"}


class Cascade(Reranker):
    """Two rerankers in the place of one: the second orders the best ``keep`` of the first anew.

    The documents that the second judged come first, in its order; the others follow in the order of
    the first. Each score is P(yes) of the model that `RankedDocument.stage` names, 1 or 2: scores
    of two models are not comparable. Fusion and diversity apply within each of the two parts.

    A query with no more than ``keep`` documents is judged by the second alone. A ``time_budget``
    bounds the second: the first always judges all documents. Each reranker has its own cache.

    Args:
        first: The quick one, which judges all documents.
        second: The better one.
        keep: How many documents of a query the second judges; copies of one count once.
        instruction: As for `Reranker`; both models are given the same.
        long_documents, window_tokens, window_overlap: As for `Reranker`, for both.
        on_error: ``"passthrough"``: where the second fails for now, the judgements of the first
            stay, with a warning; where the first does, as for `Reranker`.

    Raises:
        TypeError: ``first`` or ``second`` is no `Reranker`.
        ValueError: ``keep`` is no number from 1; or a reranker has options that belong to the
            cascade, or is itself a cascade.

    Examples:
        ```python
        reranker = Cascade(
            first=Reranker("Qwen/Qwen3-Reranker-0.6B"),
            keep=20,
            second=Reranker("Qwen/Qwen3-Reranker-4B"),
        )
        reranker.rerank(query, documents, top_k=5)
        ```
    """

    def __init__(
        self,
        *,
        first: Reranker,
        second: Reranker,
        keep: int = 20,
        instruction: Instruction | None = None,
        long_documents: LongDocuments = "truncate",
        window_tokens: int = 1024,
        window_overlap: int | None = None,
        on_error: OnError = "raise",
    ) -> None:
        super().__init__(
            scorer=CascadeScorer(first, second, keep),
            model=f"{first.options.model}, then {second.options.model}",
            instruction=instruction,
            long_documents=long_documents,
            window_tokens=window_tokens,
            window_overlap=window_overlap,
            on_error=on_error,
        )
        self.first, self.second, self.keep = first, second, keep

    def warm_up(self, *, instruction: Instruction | None = None) -> None:
        """Warm up both models, as `Reranker` does."""
        instruction = self.options.instruction if instruction is None else instruction
        self.first.warm_up(instruction=instruction)
        self.second.warm_up(instruction=instruction)

    async def awarm_up(self, *, instruction: Instruction | None = None) -> None:
        """`warm_up` without blocking the event loop."""
        instruction = self.options.instruction if instruction is None else instruction
        await self.first.awarm_up(instruction=instruction)
        await self.second.awarm_up(instruction=instruction)

    def check(self) -> CheckReport:
        """Refuse: what is checked is a model.

        Raises:
            ConfigurationError: Always.
        """
        raise ConfigurationError("a Cascade is of two models: check first and second, each alone")

    def close(self) -> None:
        """Close both rerankers. Later calls raise `ClosedError`; closing twice is fine."""
        super().close()
        self.first.close()
        self.second.close()

    async def aclose(self) -> None:
        """`close` without blocking the event loop."""
        await super().aclose()
        await self.first.aclose()
        await self.second.aclose()

    def __repr__(self) -> str:
        return f"Cascade(first={self.first!r}, keep={self.keep}, second={self.second!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the options only, as those of the two rerankers are."""
        options = {name: getattr(self.options, name) for name in [*_OF_CALLS, "on_error"]}
        return {"first": self.first, "second": self.second, "keep": self.keep, **options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # rebuilt on purpose
