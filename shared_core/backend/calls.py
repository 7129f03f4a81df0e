"""One call for rankings: scored, ordered, and passed through where that was asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from shared_core.backend.running import Runner
from shared_core.errors import RerankError
from shared_core.options import RankingOptions
from shared_core.options.windows import Windows
from shared_core.results import RankedDocument, passed_through, ranked_documents
from shared_core.scoring import Scored, ScoreRequest

logger = logging.getLogger("qwen3_rerank")


@dataclass(frozen=True, slots=True)
class RankCall:
    """What one call asks for.

    Attributes:
        runner: Scores.
        requests: The queries with their documents.
        ranking: What to keep of each ranking.
        windows: What to split long documents into; ``None`` leaves them to the backend.
    """

    runner: Runner
    requests: Sequence[ScoreRequest]
    ranking: RankingOptions
    windows: Windows | None

    def run(self) -> list[list[RankedDocument]]:
        """Return one ranking per request.

        Raises:
            RerankError: Scoring failed. With ``on_error="passthrough"`` it does not raise what may
                pass, and a failing request spoils no other one.
        """
        try:
            return self._ranked(self.runner.run(self.requests, self.windows))
        except RerankError as error:
            if not self._passes(error):
                raise
            if len(self.requests) > 1:
                return [one.run()[0] for one in self._singly()]
            return [self._passed(error)]

    async def arun(self) -> list[list[RankedDocument]]:
        """`run` without blocking the event loop."""
        try:
            return self._ranked(await self.runner.arun(self.requests, self.windows))
        except RerankError as error:
            if not self._passes(error):
                raise
            if len(self.requests) > 1:
                return [(await one.arun())[0] for one in self._singly()]
            return [self._passed(error)]

    def _singly(self) -> list[RankCall]:
        return [replace(self, requests=[request]) for request in self.requests]

    def _ranked(self, answers: Sequence[Sequence[Scored]]) -> list[list[RankedDocument]]:
        return [
            ranked_documents(request.documents, scored, self.ranking)
            for request, scored in zip(self.requests, answers, strict=True)
        ]

    def _passes(self, error: RerankError) -> bool:
        return self.runner.options.on_error == "passthrough" and not error.is_permanent

    def _passed(self, error: RerankError) -> list[RankedDocument]:
        documents = self.requests[0].documents
        logger.warning(
            "reranking failed, passing %d documents through unscored: %s", len(documents), error
        )
        return passed_through(documents, error, self.ranking)
