"""Training groups: one query, one document that answers it, and documents that do not.

Every document is a window of a passage's tokens, its length drawn the same way whether it is the
answer or not. Queries are real questions, sentences (left in the document or taken out of it),
key words, and docstring questions; negatives are random passages, passages that share a rare
token with the query, and neighbours from the same article. A BM25-like overlap of rare tokens is
computed for each group as a soft target.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from tiny_batches import Batch, Prompts, collate
from tiny_languages import Encoded, Language
from tiny_prompt import DEFAULT_INSTRUCTION, OTHER_INSTRUCTIONS
from tiny_texts import Passage
from tokenizers import Tokenizer

UNSPACED = frozenset({"zh", "th"})
QUESTION_FRAMES = (
    "What is {}?", "What are {}?", "How does {} work?", "How do I {}?", "Why {}?", "who {}",
    "When did {}?", "Where is {}?", "Which {}?", "How many {}?", "What does {} mean?", "{}?",
    "What happens when {}?", "Why do {}?", "How can {}?", "Is {}?", "explain {}", "Why is {}?",
)  # fmt: skip


class Sampler:
    """Draws batches; the same (seed, step, shape) always draws the same batch."""

    def __init__(
        self, passages: dict[str, list[Passage]], tokenizer: Tokenizer, english: float = 0.35
    ) -> None:
        self.prompts = Prompts(tokenizer)
        self.vocabulary = tokenizer.get_vocab_size() - 26
        self.languages = [Language(name, passages[name], tokenizer) for name in sorted(passages)]
        others = (1 - english) / (len(self.languages) - 1)
        # tokens that may stand for one another: letters only, in few passages
        common = sum(len(x.items) for x in self.languages) / 12
        held: Counter[int] = Counter()
        for language in self.languages:
            held.update({token: len(where) for token, where in language.holders.items()})
        texts = [tokenizer.decode([token]).strip() for token in range(self.vocabulary)]
        self.swappable = np.array(
            [i for i, text in enumerate(texts) if text.isalpha() and held[i] < common]
        )
        self.weights = [english if x.name == "en" else others for x in self.languages]

    def batch(
        self, seed: int, step: int, *, groups: int, documents: int, length: int, real: float
    ) -> Batch:
        """`groups` groups of `documents` windows of at most `length` tokens.

        Args:
            real: the share of queries that are real questions, where the language has any.
        """
        rng = np.random.default_rng((seed, step))
        prefixes, rows, answers = [], [], []
        teacher = np.zeros((groups, documents))
        for g in range(groups):
            if rng.random() < 0.06:
                query, texts, language = self._random_tokens(rng, documents, length)
            else:
                language = self.languages[rng.choice(len(self.languages), p=self.weights)]
                query, texts = self._group(rng, language, documents, length, real)
            other = rng.random() < 0.3
            instruction = str(rng.choice(OTHER_INSTRUCTIONS)) if other else DEFAULT_INSTRUCTION
            place = int(rng.integers(documents))
            texts[0], texts[place] = texts[place], texts[0]
            asked = np.unique(self.prompts.tokenizer.encode(" " + query).ids)
            for d, ids in enumerate(texts):
                teacher[g, d] = language.idf[asked[np.isin(asked, ids)]].sum()
            head, tail = self.prompts.pieces(instruction, query)
            if rng.random() < 0.35:
                swapped = self._swap(rng)
                tail = [int(swapped[token]) for token in tail]
                texts = [swapped[ids] for ids in texts]
            answers.append(place)
            rows.append(texts)
            prefixes.append(head + tail)
        return collate(prefixes, rows, self.prompts.suffix, answers, teacher)

    def _swap(self, rng: np.random.Generator) -> np.ndarray:
        """[vocabulary] ids: half of the rarer tokens exchanged for random others.

        Applied to a whole group, it leaves what matches what as it was, but with tokens that the
        texts may not contain; so matching is learnt for the vocabulary, not for the texts.
        """
        swapped = np.arange(self.prompts.tokenizer.get_vocab_size())
        chosen = self.swappable[rng.random(len(self.swappable)) < 0.5]
        swapped[chosen] = rng.permutation(chosen)
        return swapped

    def _group(
        self, rng: np.random.Generator, language: Language, count: int, length: int, real: float
    ) -> tuple[str, list[np.ndarray]]:
        """(query, windows); the first window is the answer."""
        sizes = np.maximum((length * rng.uniform(0.4, 1.0, count)).astype(int), 16)
        if language.asked and rng.random() < real:
            chosen = int(rng.choice(language.asked))
            item = language.items[chosen]
            questions = item.passage.questions
            query, start = questions[int(rng.integers(len(questions)))]
            around = int(np.searchsorted(item.starts, start, side="right")) - 1
            begin, end = language.window(item, sizes[0], rng, around)
            positive = item.ids[begin:end]
            if language.name == "en" and begin == 0 and rng.random() < 0.5:
                # a docstring without its first line: the question was made of it
                first = int(np.searchsorted(item.starts, item.sentences[0][1]))
                if len(item.ids) - first >= 24:
                    positive = item.ids[first : first + sizes[0]]
        else:
            chosen = int(rng.integers(len(language.items)))
            query, positive = self._cloze(rng, language, language.items[chosen], sizes[0])
        asked = np.unique(self.prompts.tokenizer.encode(" " + query).ids)
        rare = [t for t in asked if 1 < len(language.holders.get(int(t), ())) < 40]
        windows = [positive]
        for size in sizes[1:]:
            draw, around = rng.random(), None
            other = int(rng.integers(len(language.items)))
            if draw < 0.4 and rare:
                token = int(rng.choice(rare))
                other = int(rng.choice(language.holders[token]))
                around = int(rng.choice(np.flatnonzero(language.items[other].ids == token)))
            elif draw < 0.6:
                other = int(rng.choice(language.families[language.items[chosen].passage.family]))
            if other == chosen:
                other, around = int(rng.integers(len(language.items))), None
            if other == chosen:
                other = (chosen + 1) % len(language.items)
            item = language.items[other]
            begin, end = language.window(item, size, rng, around)
            windows.append(item.ids[begin:end])
        return query, windows

    def _cloze(
        self, rng: np.random.Generator, language: Language, item: Encoded, size: int
    ) -> tuple[str, np.ndarray]:
        """(query, window): a sentence or key words of the window."""
        text = item.passage.text
        a, b = item.sentences[int(rng.integers(len(item.sentences)))]
        first, last = (int(x) for x in np.searchsorted(item.starts, [a, b]))
        longest = max(6, size // 2)
        if last - first > longest:
            first += int(rng.integers(0, last - first - longest + 1))
            last = first + longest
            a = int(item.starts[first])
            b = int(item.starts[last]) if last < len(item.starts) else len(text)
        around = (first + last) // 2
        sentence = text[a:b].strip()
        remove = rng.random() < 0.25 and len(item.ids) - (last - first) >= 24
        if remove:
            ids = np.concatenate((item.ids[:first], item.ids[last:]))
            begin = max(0, min(first - int(rng.integers(0, size)), len(ids) - size))
            window = ids[begin : begin + size]
        else:
            begin, end = language.window(item, size, rng, around)
            window = item.ids[begin:end]
        if not remove and rng.random() < 0.6:
            stop = item.starts[end] if end < len(item.starts) else len(text)
            sentence = self._key_words(rng, language, text[item.starts[begin] : stop]) or sentence
        if rng.random() < 0.3:
            sentence = sentence.lower()
        return sentence or text[:40], window

    def _key_words(self, rng: np.random.Generator, language: Language, text: str) -> str:
        """One to six words of `text`, rare ones first, sometimes framed as an English question."""
        count = int(rng.integers(1, 7))
        if language.name in UNSPACED:
            starts = rng.integers(0, max(1, len(text) - 8), max(1, count // 2))
            return " ".join(text[s : s + int(rng.integers(3, 9))].strip() for s in starts).strip()
        words = [w for w in dict.fromkeys(language.split(text)) if len(w) > 2]
        if not words:
            return ""
        weight = np.array([1 / language.words.get(w.lower(), 1) ** 0.7 for w in words])
        count = min(count, len(words))
        picked = list(rng.choice(words, count, replace=False, p=weight / weight.sum()))
        if rng.random() < 0.5:  # a word that the document need not have
            picked += list(rng.choice(language.vocabulary, int(rng.integers(1, 3))))
        if rng.random() < 0.5:
            rng.shuffle(picked)
        joined = " ".join(str(word) for word in picked)
        if language.name == "en" and rng.random() < 0.6:
            joined = str(rng.choice(QUESTION_FRAMES)).format(joined)
        return joined

    def _random_tokens(
        self, rng: np.random.Generator, count: int, length: int
    ) -> tuple[str, list[np.ndarray], Language]:
        """A matching task over random tokens, so that every row of the vocabulary takes part."""
        sizes = np.maximum((length * rng.uniform(0.4, 1.0, count)).astype(int), 16)
        windows = [rng.integers(300, self.vocabulary, size) for size in sizes]
        taken = rng.choice(windows[0], int(rng.integers(2, 6)), replace=False)
        query = self.prompts.tokenizer.decode([int(t) for t in taken]).replace("\ufffd", "")
        language = self.languages[int(rng.integers(len(self.languages)))]
        return " ".join(query.split()) or "random", windows, language
