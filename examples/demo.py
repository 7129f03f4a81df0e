"""What a reranker changes, on real text: ``make demo``.

Retrieves 20 passages for each question with a local embedding, through LangChain's and LlamaIndex's
own classes, and reranks them. Shown are the questions that gained most, before and after, then the
gains and the losses of all. ``make demo MODEL=Qwen/Qwen3-Reranker-0.6B`` shows the real model.
"""

from __future__ import annotations

import argparse
import re
import unicodedata
from collections.abc import Callable, Iterable

from corpus import Question, load_passages, load_questions

from qwen3_rerank import Reranker

CANDIDATES = 20
LANGUAGES = {"English": "en", "中文": "zh"}
SHOWN = ("en", "en", "zh")
COLUMN = 46  # letters of a list of passages; a Chinese character takes the room of two
Ranking = list[tuple[str, float]]
Rankings = dict[str, Ranking]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="tiny", help="a hub name, a folder, or tiny")
    model = parser.parse_args().model
    questions = [question for question in load_questions() if not question.cross_lingual]
    print(f"{len(questions)} questions: {CANDIDATES} passages retrieved by a small embedding,")
    print(f"and reranked with {model}, in LangChain and in LlamaIndex.", flush=True)

    # The two frameworks ask for the same pairs: with a cache, each is scored once.
    with Reranker(model, cache_size=10_000) as reranker:
        load(reranker)
        before, after = run("LangChain", langchain_pipeline(reranker), questions)
        _, in_llama_index = run("LlamaIndex", llama_index_pipeline(reranker), questions)
        fused = with_fusion(reranker, questions, before)

    print("\nBefore and after (→ is the passage that answers): the questions that gained most.")
    for question in most_gained(questions, before, after):
        show(question, before[question.id], after[question.id])
    rows = {
        "BM25 over all passages": bm25_rankings(questions),
        "embedding": before,
        "embedding + reranker": after,
        '  + fusion="rrf"': fused,
    }
    report(questions, rows, before)
    alike = sum(order(after[q.id]) == order(in_llama_index[q.id]) for q in questions)
    print(f"LangChain and LlamaIndex: the same order for {alike} of {len(questions)} questions.")


# The frameworks and the model's libraries take seconds to import: first something is printed.
def load(reranker: Reranker) -> None:
    """Load the model; a bar is shown for a download."""
    import huggingface_hub.utils

    huggingface_hub.utils.enable_progress_bars()
    reranker.load()


def run(
    name: str, pipeline: Callable[[str], tuple[Ranking, Ranking]], questions: list[Question]
) -> tuple[Rankings, Rankings]:
    """Return the rankings before and after reranking, by question; a bar shows how far it is."""
    from tqdm import tqdm

    before, after = {}, {}
    for question in tqdm(questions, desc=name, unit="question", leave=False, disable=None):
        before[question.id], after[question.id] = pipeline(question.text)
    return before, after


def langchain_pipeline(reranker: Reranker) -> Callable[[str], tuple[Ranking, Ranking]]:
    """Return a function from a question to the passages before and after reranking."""
    from langchain_store import make_store

    from langchain_qwen3_rerank import Qwen3Rerank

    store = make_store()
    compressor = Qwen3Rerank(reranker=reranker, top_k=None)

    def run(question: str) -> tuple[Ranking, Ranking]:
        found = store.similarity_search_with_score(question, k=CANDIDATES)
        reranked = compressor.compress_documents([document for document, _ in found], question)
        before = [(str(document.id), score) for document, score in found]
        after = [(str(d.id), d.metadata["relevance_score"]) for d in reranked]
        return before, after

    return run


def llama_index_pipeline(reranker: Reranker) -> Callable[[str], tuple[Ranking, Ranking]]:
    """The same through LlamaIndex."""
    from llama_index_store import make_index

    from llama_index_qwen3_rerank import Qwen3Rerank

    retriever = make_index().as_retriever(similarity_top_k=CANDIDATES)
    postprocessor = Qwen3Rerank(reranker=reranker, top_k=None)

    def run(question: str) -> tuple[Ranking, Ranking]:
        found = retriever.retrieve(question)
        reranked = postprocessor.postprocess_nodes(found, query_str=question)
        return (
            [(node.node_id, node.score) for node in found],
            [(node.node_id, node.score) for node in reranked],
        )

    return run


def with_fusion(reranker: Reranker, questions: list[Question], before: Rankings) -> Rankings:
    """Return rankings by the reranker and the retriever together, from the scores in the cache."""
    texts = {passage.id: passage.text for passage in load_passages()}
    rankings = {}
    for question in questions:
        ids, scores = zip(*before[question.id], strict=True)
        ranked = reranker.rerank(
            question.text, [texts[i] for i in ids], retriever_scores=scores, fusion="rrf"
        )
        rankings[question.id] = [(ids[found.index], found.score) for found in ranked]
    return rankings


def most_gained(questions: list[Question], before: Rankings, after: Rankings) -> Iterable[Question]:
    """Yield the questions whose right passage gained most reciprocal rank, by language."""
    left = list(questions)
    for language in SHOWN:
        among = [question for question in left if question.language == language]
        question = max(among, key=lambda q: gain(q, before[q.id], after[q.id]))
        left.remove(question)
        yield question


def gain(question: Question, before: Ranking, after: Ranking) -> float:
    """Return by how much the right passage's reciprocal rank grew, from −1 to 1."""
    return reciprocal_rank(question, after) - reciprocal_rank(question, before)


def show(question: Question, before: Ranking, after: Ranking) -> None:
    """Print the first three passages and the right one, before and after, side by side."""
    print(f"\n{question.text}")
    left, right = (shown(question, ranking) for ranking in (before, after))
    left += [""] * (len(right) - len(left))
    for cells in zip(["  retrieved", *left], ["  reranked", *right, ""], strict=False):
        print("".join(map(padded, cells)).rstrip())


def shown(question: Question, ranking: Ranking) -> list[str]:
    titles = {passage.id: passage.title for passage in load_passages()}
    return [
        f"{'→' if passage_id == question.relevant else ' '} {rank:2} {titles[passage_id]}"
        for rank, passage_id in enumerate(order(ranking), 1)
        if rank <= 3 or passage_id == question.relevant
    ]


def padded(text: str, room: int = COLUMN) -> str:
    """Return a text with spaces up to a width, or cut to it."""
    kept, wide = "", 0
    for character in text:
        wide += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if wide > room - 2:
            return f"{kept}… "
        kept += character
    return kept + " " * (room - wide)


def report(questions: list[Question], rows: dict[str, Rankings], before: Rankings) -> None:
    """Print the mean reciprocal rank of the right passage, and how many questions rose and fell."""
    print("\nMean reciprocal rank of the passage that answers; rose, fell: against the embedding")
    asked = {name: [q for q in questions if q.language == code] for name, code in LANGUAGES.items()}
    heads = [padded(f"{name} ({len(found)})", 15) + "rose  fell" for name, found in asked.items()]
    print(f"{'':27}{'     '.join(heads)}")
    for label, rankings in rows.items():
        cells = f"  {label:25}"
        for found in asked.values():
            mean = sum(reciprocal_rank(q, rankings[q.id]) for q in found) / len(found)
            gains = [gain(q, before[q.id], rankings[q.id]) for q in found]
            rose, fell = sum(change > 0 for change in gains), sum(change < 0 for change in gains)
            moved = "" if rankings is before else f"{rose:4}{fell:6}"
            cells += f"{mean:<15.3f}{moved:15}"
        print(cells.rstrip())


def bm25_rankings(questions: list[Question]) -> Rankings:
    """Return BM25's best passages, for comparison; Chinese by characters and pairs of them."""
    from rank_bm25 import BM25Okapi

    passages = load_passages()
    index = BM25Okapi([tokens(passage.text) for passage in passages])
    rankings = {}
    for question in questions:
        scores = index.get_scores(tokens(question.text))
        best = sorted(range(len(passages)), key=lambda i: -scores[i])[:CANDIDATES]
        rankings[question.id] = [(passages[i].id, float(scores[i])) for i in best]
    return rankings


def tokens(text: str) -> list[str]:
    found = []
    for word in re.findall(r"[\u3400-\u9fff]+|\w+", text.lower()):
        if re.match(r"[\u3400-\u9fff]", word):
            found += [*word, *(word[i : i + 2] for i in range(len(word) - 1))]
        else:
            found.append(word)
    return found


def order(ranking: Ranking) -> list[str]:
    return [passage_id for passage_id, _ in ranking]


def reciprocal_rank(question: Question, ranking: Ranking) -> float:
    ids = order(ranking)
    return 1 / (ids.index(question.relevant) + 1) if question.relevant in ids else 0.0


if __name__ == "__main__":
    main()
