"""Prints how well a checkpoint finds the one right document among twenty, next to BM25.

    python training/evaluate_tiny.py --data DIR [--model shared_core/tiny]

Both rank the same candidates, drawn once by a fixed seed: the right passage and nineteen others of
its set, either at random or those that BM25 itself ranks highest. The score is the mean reciprocal
rank (MRR); by chance it is 0.18. A tie counts as the worst rank it can mean.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tiny_batches import Prompts, collate
from tiny_model import GroupReranker
from tiny_prompt import DEFAULT_INSTRUCTION, OTHER_INSTRUCTIONS
from tiny_texts import HELD_OUT_LANGUAGES, Passage, load_docstrings, load_questions, split
from tokenizers import Tokenizer

CANDIDATES = 20
LONGEST = 1024  # tokens of a document that are scored
PAIRS = Path(__file__).with_name("evaluation_pairs.json")
Question = tuple[str, int]  # a question and the index of the passage that answers it


def terms(text: str) -> list[str]:
    """Lower-case words; of Chinese and Thai, pairs of neighbouring characters."""
    found = []
    for word in re.findall(r"\w+", text.lower()):
        if re.search(r"[\u0e00-\u0e7f\u3400-\u9fff]", word):
            found += [word[i : i + 2] for i in range(max(1, len(word) - 1))]
        else:
            found.append(word)
    return found


class BM25:
    """Okapi BM25, k1 = 1.5, b = 0.75, idf = log(1 + (N − n + 0.5) / (n + 0.5))."""

    def __init__(self, texts: list[str]) -> None:
        self.counts = [Counter(terms(text)) for text in texts]
        self.lengths = np.array([max(1, count.total()) for count in self.counts])
        holders: Counter[str] = Counter()
        for count in self.counts:
            holders.update(count.keys())
        total = len(texts)
        self.idf = {t: math.log(1 + (total - n + 0.5) / (n + 0.5)) for t, n in holders.items()}

    def scores(self, query: str) -> np.ndarray:
        """[texts] float64."""
        norm = 1.5 * (0.25 + 0.75 * self.lengths / self.lengths.mean())
        total = np.zeros(len(self.counts))
        for term in set(terms(query)) & self.idf.keys():
            count = np.array([c[term] for c in self.counts])
            total += self.idf[term] * count * 2.5 / (count + norm)
        return total


def reciprocal_rank(scores: np.ndarray, right: int) -> float:
    return 1.0 / int((scores >= scores[right]).sum())


def test_sets(
    data: Path | None, limit: int, rng: np.random.Generator
) -> dict[str, tuple[list[str], list[Question]]]:
    """Name → (passages, questions). None of the passages or questions was trained on."""
    sets: dict[str, tuple[list[str], list[Question]]] = {}
    pairs = json.loads(PAIRS.read_text("utf-8"))
    sets["en, written by hand"] = (
        [pair["passage"] for pair in pairs],
        [(pair["question"], number) for number, pair in enumerate(pairs)],
    )

    def add(name: str, passages: list[Passage]) -> None:
        asked = [
            (str(question), number)
            for number, passage in enumerate(passages)
            for question, _ in passage.questions
        ]
        chosen = rng.permutation(len(asked))[:limit]
        sets[name] = ([p.text for p in passages], [asked[i] for i in chosen])

    _, docstrings = load_docstrings()
    for passage in docstrings:  # `How do I …` and `how to … in Python`
        passage.questions = [passage.questions[i] for i in (0, 5) if passage.questions]
    add("en, docstrings of unseen modules", docstrings)
    if data is not None:
        for language, passages in load_questions(data).items():
            seen = "unseen language" if language in HELD_OUT_LANGUAGES else "unseen paragraphs"
            add(f"{language}, {seen}", split(passages)[1])
    return sets


class TinyScorer:
    """Margins of a checkpoint's own files, computed in groups."""

    def __init__(self, folder: Path) -> None:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        yes_id, no_id = (tokenizer.encode(word).ids[0] for word in ("yes", "no"))
        weights = load_file(folder / "model.safetensors")
        self.model = GroupReranker(len(weights["model.embed_tokens.weight"]), yes_id, no_id)
        self.model.load_state_dict({name: x.float() for name, x in weights.items()})
        self.model.eval()
        self.prompts = Prompts(tokenizer)

    def scores(self, query: str, texts: list[str], instruction: str) -> np.ndarray:
        """[texts] float64: one margin per text."""
        ids = [
            np.array(self.prompts.tokenizer.encode(f" {text}").ids[:LONGEST], dtype=np.int64)
            for text in texts
        ]
        prefix = [self.prompts.prefix(instruction, query)]
        batch = collate(prefix, [ids], self.prompts.suffix, [0], np.zeros((1, len(ids))))
        with torch.no_grad():
            return self.model(*batch.inputs("cpu"))[0].double().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("TINY_DATA"))
    parser.add_argument("--model", type=Path, default=Path("shared_core/tiny"))
    parser.add_argument("--limit", type=int, default=100, help="questions per set at most")
    parser.add_argument("--only", default="", help="sets whose name starts with this")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    rng = np.random.default_rng(7)
    scorer = TinyScorer(arguments.model)
    sets = test_sets(arguments.data and Path(arguments.data), arguments.limit, rng)
    print(f"MRR of 1 in {CANDIDATES}; `acc` is the share of right/wrong told apart at 0.5 (model)")
    print(f"{'set':34} {'n':>4} | random: model  BM25 | hard: model  BM25 |  acc")
    for name, (passages, questions) in sets.items():
        if not name.startswith(arguments.only):
            continue
        bm25 = BM25(passages)
        ranks: dict[str, list[float]] = {"rm": [], "rb": [], "hm": [], "hb": []}
        positive, negative = [], []
        for number, (question, right) in enumerate(questions):
            lexical = bm25.scores(question)
            others = rng.permutation([i for i in range(len(passages)) if i != right])
            hardest = others[np.argsort(-lexical[others], kind="stable")]
            # one instruction in four is not the default
            instruction = OTHER_INSTRUCTIONS[number % 13] if number % 4 == 3 else None
            for kind, pool in (("r", others), ("h", hardest)):
                chosen = [right, *(int(i) for i in pool[: CANDIDATES - 1])]
                margins = scorer.scores(
                    question, [passages[i] for i in chosen], instruction or DEFAULT_INSTRUCTION
                )
                ranks[kind + "m"].append(reciprocal_rank(margins, 0))
                ranks[kind + "b"].append(reciprocal_rank(lexical[chosen], 0))
                if kind == "r":
                    positive.append(margins[0] > 0)
                    negative.append(np.mean(margins[1:] < 0))
        mean = {kind: float(np.mean(values)) for kind, values in ranks.items()}
        accuracy = (np.mean(positive) + np.mean(negative)) / 2
        print(
            f"{name:34} {len(questions):4} |        {mean['rm']:.3f} {mean['rb']:.3f} |"
            f"      {mean['hm']:.3f} {mean['hb']:.3f} | {accuracy:.3f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
