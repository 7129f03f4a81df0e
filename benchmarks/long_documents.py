"""Gain and cost of windows over truncation on long documents.

A question is ranked against long documents, one of which holds its answer at a known place::

    python benchmarks/long_documents.py                          # made of the demo's passages
    python benchmarks/long_documents.py --squad xquad.es.json    # articles, in SQuAD's format

Made documents are passages of `examples/data` joined until they have about ``--tokens`` tokens; the
passage that answers the question is put in at each depth in turn. Articles are the paragraphs of a
SQuAD file in their order. ``--estimate FILE…`` compares the estimate of tokens with a tokenizer.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

from corpus import load_passages, load_questions

from shared_core import Reranker
from shared_core.windows.meters import estimate_tokens

DEPTHS = (0, 25, 50, 75, 100)
Count = Callable[[str], int]


class Case(NamedTuple):
    """A question with documents: the right one, once for each place of the answer, and others."""

    query: str
    right: dict[int, str]
    wrong: list[str]


class Way(NamedTuple):
    """One way to judge long documents."""

    name: str
    max_length: int
    window_tokens: int | None


class Found(NamedTuple):
    """Reciprocal ranks by depth, tokens of every question, seconds of all."""

    ranks: dict[int, list[float]]
    tokens: list[int]
    seconds: float


def made_cases(count: Count, n_tokens: int, n_documents: int, limit: int) -> list[Case]:
    """Return English questions of the demo, whose answers lie in documents made of passages."""
    chance = random.Random(0)
    passages = {
        one.id: one.text for one in load_passages() if one.text.isascii() or "’" in one.text
    }
    questions = [
        one for one in load_questions() if one.language == "en" and one.relevant in passages
    ]

    def filler(without: str) -> list[str]:
        texts = [text for id_, text in passages.items() if id_ != without]
        chance.shuffle(texts)
        found, size = [], 0
        for text in texts:
            found.append(text)
            size += count(text)
            if size >= n_tokens:
                break
        return found

    cases = []
    for question in questions[:limit]:
        around = filler(question.relevant)
        needle = passages[question.relevant]
        right = {}
        for depth in DEPTHS:
            place = round(len(around) * depth / 100)
            right[depth] = "\n\n".join([*around[:place], needle, *around[place:]])
        wrong = ["\n\n".join(filler(question.relevant)) for _ in range(n_documents - 1)]
        cases.append(Case(question.text, right, wrong))
    return cases


def article_cases(path: Path, n_documents: int, limit: int) -> list[Case]:
    """Return questions on the articles of a SQuAD file; the depth is the answering paragraph's."""
    chance = random.Random(0)
    articles = json.loads(path.read_text("utf-8"))["data"]
    texts = ["\n\n".join(part["context"] for part in one["paragraphs"]) for one in articles]
    cases = []
    for number, article in enumerate(articles):
        for place, part in enumerate(article["paragraphs"]):
            question = chance.choice(part["qas"])["question"]
            others = [text for other, text in enumerate(texts) if other != number]
            depth = round(100 * place / max(1, len(article["paragraphs"]) - 1))
            wrong = chance.sample(others, n_documents - 1)
            cases.append(Case(question, {depth: texts[number]}, wrong))
    chance.shuffle(cases)
    return cases[:limit]


def measure(model: str, way: Way, cases: Sequence[Case]) -> Found:
    """Rank all cases one way."""
    found = Found({}, [], 0.0)
    options: dict[str, Any] = {}
    if way.window_tokens is not None:
        options = {"long_documents": "windows", "window_tokens": way.window_tokens}
    with Reranker(model, dtype="float32", max_length=way.max_length) as reranker:
        reranker.warm_up()
        began = time.perf_counter()
        for case in cases:
            documents = [*case.right.values(), *case.wrong]
            ranked = reranker.rerank(case.query, documents, **options)
            by_index = {one.index: one for one in ranked}
            wrong = [by_index[place] for place in range(len(case.right), len(documents))]
            tokens = [one.total_tokens or 0 for one in (by_index[0], *wrong)]
            found.tokens.append(sum(tokens))
            for place, depth in enumerate(case.right):
                margin = by_index[place].logit or 0.0
                rank = 1 + sum((one.logit or 0.0) >= margin for one in wrong)
                found.ranks.setdefault(depth, []).append(1 / rank)
        return found._replace(seconds=time.perf_counter() - began)


def print_head(cases: Sequence[Case], n_documents: int) -> list[int]:
    """Print the head of the table of results; return the depths that it has columns for."""
    depths = sorted({depth for case in cases for depth in case.right})
    chance = sum(1 / place for place in range(1, n_documents + 1)) / n_documents
    print(f"{len(cases)} questions, {n_documents} documents each; by chance MRR {chance:.3f}\n")
    head = ["", "MRR", "hit@1", *(f"at {depth} %" for depth in depths), "tokens", "seconds"]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}", flush=True)
    return depths


def print_row(name: str, found: Found, depths: Sequence[int]) -> None:
    """Print one row of it."""
    everything = [one for ranks in found.ranks.values() for one in ranks]
    hits = statistics.mean(one == 1 for one in everything)
    cells = [name, f"{statistics.mean(everything):.3f}", f"{hits:.3f}"]
    cells += [f"{statistics.mean(found.ranks[depth]):.3f}" for depth in depths]
    cells += [f"{statistics.mean(found.tokens):,.0f}", f"{found.seconds:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def compare_estimate(paths: Sequence[Path], count: Count) -> None:
    """Print how the estimate of tokens compares with a tokenizer's count, by file."""
    print("| file | paragraphs | estimate / tokens, mean | least | too low in |")
    print("|---|---|---|---|---|")
    for path in paths:
        articles = json.loads(path.read_text("utf-8"))["data"]
        texts = [part["context"] for one in articles for part in one["paragraphs"]]
        pairs = zip(estimate_tokens(texts), map(count, texts), strict=True)
        shares = [estimated / counted for estimated, counted in pairs]
        low = statistics.mean(share < 1 for share in shares)
        cells = f"{len(texts)} | {statistics.mean(shares):.2f} | {min(shares):.2f} | {low:.1%}"
        print(f"| {path.name} | {cells} |", flush=True)


def main() -> None:
    """Parse the command line, and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--squad", type=Path, help="articles instead of made documents")
    parser.add_argument("--tokens", type=int, default=800, help="of a made document")
    parser.add_argument("--documents", type=int, default=8, help="per question")
    parser.add_argument("--limit", type=int, default=40, help="questions at most")
    parser.add_argument("--max-length", type=int, nargs="*", default=[256, 8192])
    parser.add_argument("--windows", type=int, nargs="*", default=[64, 128, 256])
    parser.add_argument("--estimate", type=Path, nargs="+", help="SQuAD files; nothing is ranked")
    parser.add_argument("--tokenizer", default=None, help="a tokenizer.json, for --estimate")
    given = parser.parse_args()

    from tokenizers import Tokenizer

    bundled = Path(__file__).parents[1] / "shared_core" / "tiny" / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(given.tokenizer or bundled))

    def count(text: str) -> int:
        return len(tokenizer.encode(f" {text}", add_special_tokens=False).ids)

    if given.estimate:
        compare_estimate(given.estimate, count)
        return
    if given.squad:
        cases = article_cases(given.squad, given.documents, given.limit)
    else:
        cases = made_cases(count, given.tokens, given.documents, given.limit)
    lengths = [count(text) for case in cases for text in (*case.right.values(), *case.wrong)]
    print(f"documents of {min(lengths):,} to {max(lengths):,} tokens, median "
          f"{statistics.median(lengths):,.0f}")  # fmt: skip
    ways = [Way(f"truncate, max_length {one}", one, None) for one in given.max_length]
    ways += [Way(f"windows of {one}", 8192, one) for one in given.windows]
    depths = print_head(cases, given.documents)
    for way in ways:
        print_row(way.name, measure(given.model, way, cases), depths)


if __name__ == "__main__":
    main()
