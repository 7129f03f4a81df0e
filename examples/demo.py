"""What a reranker changes, on real text: ``make demo``.

Retrieves 20 passages for each question with a local embedding, through LangChain's and LlamaIndex's
own classes, reranks them, and prints the order before and after for the questions that gained most,
then the gains and the losses of all. The bundled model is for wiring:
``make demo MODEL=Qwen/Qwen3-Reranker-0.6B`` shows the real one.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable

import huggingface_hub.utils
import transformers
from corpus import Question, load_passages, load_questions
from langchain_store import make_store
from llama_index_store import make_index
from rank_bm25 import BM25Okapi

from langchain_qwen3_rerank import Qwen3Rerank as LangChainRerank
from llama_index_qwen3_rerank import Qwen3Rerank as LlamaIndexRerank
from shared_core import Reranker

CANDIDATES = 20
LANGUAGES = {"English": "en", "中文": "zh"}
SHOWN = (("LangChain", "en"), ("LlamaIndex", "en"), ("LangChain", "zh"))
Ranking = list[tuple[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="a hub name, a folder, or tiny")
    model = parser.parse_args().model

    # A checkpoint is read in a moment: no bar for that, only for a download.
    transformers.utils.logging.disable_progress_bar()
    huggingface_hub.utils.enable_progress_bars()
    questions = [question for question in load_questions() if not question.cross_lingual]
    print(f"Reranking {CANDIDATES} passages for each of {len(questions)} questions with {model}")
    # The two frameworks ask for the same pairs: with a cache, each is scored once.
    with Reranker(model, cache_size=10_000) as reranker:
        pipelines = {
            "LangChain": langchain_pipeline(reranker),
            "LlamaIndex": llama_index_pipeline(reranker),
        }
        rankings = {
            name: {question.id: run(question.text) for question in questions}
            for name, run in pipelines.items()
        }
    print("\nShown are the questions whose right passage (→) gained most reciprocal rank, two")
    print("English, one Chinese. The gains and the losses of all are counted at the end.")
    left = list(questions)
    for name, language in SHOWN:
        among = [question for question in left if question.language == language]
        question = max(among, key=lambda q: gain(q, *rankings[name][q.id]))
        left.remove(question)
        show(name, question, *rankings[name][question.id])
    report(questions, rankings)
    count(questions, rankings)


def langchain_pipeline(reranker: Reranker) -> Callable[[str], tuple[Ranking, Ranking]]:
    """Return a function from a question to the passages before and after reranking."""
    store = make_store()
    compressor = LangChainRerank(reranker=reranker, top_k=None)

    def run(question: str) -> tuple[Ranking, Ranking]:
        found = store.similarity_search_with_score(question, k=CANDIDATES)
        reranked = compressor.compress_documents([document for document, _ in found], question)
        before = [(str(document.id), score) for document, score in found]
        after = [(str(d.id), d.metadata["relevance_score"]) for d in reranked]
        return before, after

    return run


def llama_index_pipeline(reranker: Reranker) -> Callable[[str], tuple[Ranking, Ranking]]:
    """The same through LlamaIndex."""
    retriever = make_index().as_retriever(similarity_top_k=CANDIDATES)
    postprocessor = LlamaIndexRerank(reranker=reranker, top_k=None)

    def run(question: str) -> tuple[Ranking, Ranking]:
        found = retriever.retrieve(question)
        reranked = postprocessor.postprocess_nodes(found, query_str=question)
        return (
            [(node.node_id, node.score) for node in found],
            [(node.node_id, node.score) for node in reranked],
        )

    return run


def gain(question: Question, before: Ranking, after: Ranking) -> float:
    """Return by how much the right passage's reciprocal rank grew, from −1 to 1."""
    return reciprocal_rank(question, after) - reciprocal_rank(question, before)


def show(name: str, question: Question, before: Ranking, after: Ranking) -> None:
    """Print the first four passages and the right one, with their ranks, before and after."""
    titles = {passage.id: passage.title for passage in load_passages()}
    print(f"\n{question.text}   ({name})")
    for heading, ranking in (("retrieved", before), ("reranked", after)):
        print(f"  {heading}")
        for rank, (passage_id, score) in enumerate(ranking, 1):
            is_right = passage_id == question.relevant
            if rank <= 4 or is_right:
                print(f"  {'→' if is_right else ' '} {rank:2}  {score:6.3f}  {titles[passage_id]}")


def report(
    questions: list[Question], rankings: dict[str, dict[str, tuple[Ranking, Ranking]]]
) -> None:
    """Print the mean reciprocal rank of the right passage, before and after, by language."""
    print(
        f"\nMean reciprocal rank of the right passage in {CANDIDATES}, {len(questions)} questions"
    )
    print(f"  {'':34}" + "".join(f"{language:>10}" for language in LANGUAGES))
    rows = {"BM25 over all passages": bm25_rankings(questions)}
    for name, by_question in rankings.items():
        rows[f"{name}: embedding"] = {key: pair[0] for key, pair in by_question.items()}
        rows[f"{name}: embedding + reranker"] = {key: pair[1] for key, pair in by_question.items()}
    for label, by_question in rows.items():
        values = [
            mean([reciprocal_rank(q, by_question[q.id]) for q in questions if q.language == code])
            for code in LANGUAGES.values()
        ]
        print(f"  {label:34}" + "".join(f"{value:10.3f}" for value in values))


def count(
    questions: list[Question], rankings: dict[str, dict[str, tuple[Ranking, Ranking]]]
) -> None:
    """Print for how many questions the right passage rose, stayed and fell, by language."""
    headings = ("rose", "kept its place", "fell", "not retrieved")
    print("\nQuestions by what became of the right passage")
    print(f"  {'':22}" + "".join(f"{heading:>16}" for heading in headings))
    for name, by_question in rankings.items():
        for language, code in LANGUAGES.items():
            asked = [question for question in questions if question.language == code]
            found = [q for q in asked if reciprocal_rank(q, by_question[q.id][0])]
            gains = [gain(question, *by_question[question.id]) for question in found]
            rose, fell = sum(one > 0 for one in gains), sum(one < 0 for one in gains)
            counts = (rose, len(gains) - rose - fell, fell, len(asked) - len(found))
            print(f"  {f'{name}, {language}':22}" + "".join(f"{number:16}" for number in counts))


def bm25_rankings(questions: list[Question]) -> dict[str, Ranking]:
    """Return BM25's best passages, for comparison; Chinese by characters and pairs of them."""
    passages = load_passages()
    index = BM25Okapi([tokens(passage.text) for passage in passages])
    rankings = {}
    for question in questions:
        scores = index.get_scores(tokens(question.text))
        order = sorted(range(len(passages)), key=lambda i: -scores[i])[:CANDIDATES]
        rankings[question.id] = [(passages[i].id, float(scores[i])) for i in order]
    return rankings


def tokens(text: str) -> list[str]:
    found = []
    for word in re.findall(r"[\u3400-\u9fff]+|\w+", text.lower()):
        if re.match(r"[\u3400-\u9fff]", word):
            found += [*word, *(word[i : i + 2] for i in range(len(word) - 1))]
        else:
            found.append(word)
    return found


def reciprocal_rank(question: Question, ranking: Ranking) -> float:
    ids = [passage_id for passage_id, _ in ranking]
    return 1 / (ids.index(question.relevant) + 1) if question.relevant in ids else 0.0


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


if __name__ == "__main__":
    main()
