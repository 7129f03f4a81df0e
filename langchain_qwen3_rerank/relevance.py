"""`Qwen3Relevance`, a grade of one document for one question, as corrective and self-RAG need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.documents import Document
from langchain_core.runnables import RunnableSerializable
from pydantic import BaseModel, ConfigDict, Field

from langchain_qwen3_rerank.documents import DocumentText, document_texts
from shared_core.adapter import RerankerHolder
from shared_core.results import RankedDocument, Ranking
from shared_core.shown import ShownParts
from shared_core.steps import Steps, arun, run, wait

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

_QUESTIONS = ("query", "question")


class Relevance(BaseModel):
    """The grade of one document for one question.

    Attributes:
        relevant: Whether its probability, or without a calibration its score, reaches the
            threshold. A document that could not be scored (``on_error="passthrough"``) is kept for
            relevant, and says so in ``error``.
        score: P(yes) in [0, 1]; ``None`` if it was not scored.
        probability: The calibrated probability that it is right; ``None`` without a calibration.
        evidence: ``start``, ``end``, ``text`` and ``score`` of the sentences that answer;
            ``None`` without ``evidence``, or where they lie in metadata.
        error: Why it was not scored.
    """

    model_config = ConfigDict(frozen=True)

    relevant: bool
    score: float | None = None
    probability: float | None = None
    evidence: dict[str, Any] | None = None
    error: str | None = None

    @property
    def binary_score(self) -> Literal["yes", "no"]:
        """``relevant`` in the words of LangGraph's examples."""
        return "yes" if self.relevant else "no"


class Qwen3Relevance(RerankerHolder, RunnableSerializable[dict[str, Any], Relevance]):
    """Grades a document for a question: a runnable from both to a `Relevance`.

    The input is ``{"query": …, "document": …}``, the former also as ``"question"``, the latter a
    text or a `Document`. All pairs of a ``batch`` or ``abatch`` are scored together: questions that
    are equal share their computation, and all share forwards. All options of `Reranker` are
    fields here, or give a ``reranker`` to share its model, and what follows:

    Args:
        threshold: The least probability of a relevant document, or the least score where there is
            no calibration.
        evidence: Also find the sentences that answer, in one further request for the whole batch.
        document_text: The text that is judged, as for `Qwen3Rerank`.

    Raises:
        ValueError: An option is unknown, out of range, or contradicts another.

    Examples:
        ```python
        grader = Qwen3Relevance(threshold=0.5)
        grades = grader.batch([{"question": question, "document": each} for each in documents])
        ```
    """

    # As for `Qwen3Rerank`: of LangChain's base, extra="ignore" would come last.
    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    threshold: float = Field(default=0.5, ge=0.0, le=1.0, strict=True)
    evidence: bool = False
    document_text: DocumentText | None = None

    def invoke(
        self,
        input: dict[str, Any],  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> Relevance:
        """Return the grade of one document.

        Args:
            input: The question and the document.
            config: LangChain's.

        Raises:
            TypeError: The input lacks one of them.
            RerankError: Scoring failed, unless ``on_error="passthrough"``.
        """
        return self._call_with_config(lambda given: run(self._grading([given]))[0], input, config)

    async def ainvoke(
        self,
        input: dict[str, Any],  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> Relevance:
        """`invoke` without blocking the event loop or its shared threads."""

        async def graded(given: dict[str, Any]) -> Relevance:
            return (await arun(self._grading([given])))[0]

        return await self._acall_with_config(graded, input, config)

    def batch(
        self,
        inputs: list[dict[str, Any]],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **_: Any,
    ) -> list[Relevance]:
        """Return the grade of each pair; they are scored together, and fail together.

        Args:
            inputs: The questions and documents.
            config: LangChain's.
            return_exceptions: Return the failure in the place of every grade.
        """

        def graded(given: list[dict[str, Any]]) -> list[Exception | Relevance]:
            return run(self._grading_or_failing(given))

        return self._batch_with_config(graded, inputs, config, return_exceptions=return_exceptions)

    async def abatch(
        self,
        inputs: list[dict[str, Any]],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **_: Any,
    ) -> list[Relevance]:
        """`batch` without blocking the event loop or its shared threads."""

        async def graded(given: list[dict[str, Any]]) -> list[Exception | Relevance]:
            return await arun(self._grading_or_failing(given))

        return await self._abatch_with_config(
            graded, inputs, config, return_exceptions=return_exceptions
        )

    def _grading_or_failing(self, inputs: Sequence[Any]) -> Steps[list[Exception | Relevance]]:
        try:
            return [*(yield from self._grading(inputs))]
        except Exception as error:  # noqa: BLE001  # LangChain raises or returns it
            return [error] * len(inputs)

    def _grading(self, inputs: Sequence[Any]) -> Steps[list[Relevance]]:
        batch = _Batch(inputs, self.document_text)
        options = self.call_options | {"evidence": self.evidence}
        rankings = yield from wait(
            partial(self.reranker.rerank_many, batch.queries, batch.texts, **options),
            partial(self.reranker.arerank_many, batch.queries, batch.texts, **options),
        )
        return self._grades(batch, rankings)

    def _grades(self, batch: _Batch, rankings: Sequence[Ranking]) -> list[Relevance]:
        """Return the grades in the order of the inputs."""
        grades: dict[int, Relevance] = {}
        for (_, places), ranking in zip(batch.groups, rankings, strict=True):
            for ranked in ranking:
                place = places[ranked.index]
                content, text = batch.contents[place], batch.pairs[place][1]
                grades[place] = self._grade(ranked, ShownParts(content, text, ranked))
        return [grades[place] for place in range(len(grades))]

    def _grade(self, ranked: RankedDocument, parts: ShownParts) -> Relevance:
        sure = ranked.score if ranked.probability is None else ranked.probability
        return Relevance(
            relevant=sure is None or sure >= self.threshold,
            score=ranked.score,
            probability=ranked.probability,
            evidence=parts.evidence,
            error=ranked.error,
        )


class _Batch:
    """The pairs of some inputs, by question.

    Attributes:
        pairs: Question and judged text of each input.
        contents: The content of each document.
        groups: Each question with the places of its pairs.
    """

    def __init__(self, inputs: Sequence[Any], how: DocumentText | None) -> None:
        given = [_question_and_document(each) for each in inputs]
        documents = [document for _, document in given]
        texts = document_texts(documents, how)
        self.pairs = [(query, text) for (query, _), text in zip(given, texts, strict=True)]
        self.contents = [document.page_content for document in documents]
        places: dict[str, list[int]] = {}
        for place, (query, _) in enumerate(self.pairs):
            places.setdefault(query, []).append(place)
        self.groups = list(places.items())

    @property
    def queries(self) -> list[str]:
        return [query for query, _ in self.groups]

    @property
    def texts(self) -> list[list[str]]:
        return [[self.pairs[place][1] for place in places] for _, places in self.groups]


def _question_and_document(given: object) -> tuple[str, Document]:
    """Return both.

    Raises:
        TypeError: They are not there.
    """
    if isinstance(given, Mapping) and "document" in given:
        query = next((given[name] for name in _QUESTIONS if name in given), None)
        document = given["document"]
        if isinstance(document, str):
            document = Document(page_content=document)
        if isinstance(query, str) and isinstance(document, Document):
            return query, document
        kinds = f"{type(query).__name__} and {type(document).__name__}"
    else:
        kinds = str(sorted(given)) if isinstance(given, Mapping) else type(given).__name__
    raise TypeError(
        'a grade takes {"query": a question, "document": a text or a Document}, where the question '
        f'may also be called "question"; got {kinds}'
    )
