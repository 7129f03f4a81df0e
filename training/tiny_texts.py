"""Training and evaluation texts: question paragraphs in SQuAD format, and Python's docstrings.

What is held out of training, always:

- the languages `HELD_OUT_LANGUAGES`, whole;
- the last `HELD_OUT_PARAGRAPHS` paragraphs of every file (the XQuAD languages are translations of
  the same 240 paragraphs, so an index held out in one language is held out in all);
- the docstrings of `HELD_OUT_MODULES`.
"""

from __future__ import annotations

import ast
import json
import re
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

HELD_OUT_LANGUAGES = ("es", "hi")
HELD_OUT_PARAGRAPHS = 48
HELD_OUT_MODULES = frozenset(
    [
        "argparse",
        "json",
        "statistics",
        "pathlib",
        "collections",
        "itertools",
        "textwrap",
        "heapq",
        "datetime",
        "random",
        "csv",
        "functools",
    ]
)
SKIPPED_FOLDERS = frozenset(
    ["test", "tests", "site-packages", "idlelib", "lib2to3", "turtledemo", "ensurepip"]
)


@dataclass
class Passage:
    """One paragraph and the questions it answers.

    Attributes:
        text: the paragraph, white space collapsed.
        language: two letters; `en` for docstrings.
        family: passages of one article or module share it.
        questions: pairs (question, character offset of the answer in `text`).
    """

    text: str
    language: str
    family: str
    questions: list[tuple[str, int]] = field(default_factory=list)


def load_squad(path: Path, language: str) -> list[Passage]:
    """The paragraphs of one SQuAD-format file, in file order, byte-order marks removed."""
    passages = []
    for number, article in enumerate(json.loads(path.read_text("utf-8"))["data"]):
        for paragraph in article["paragraphs"]:
            raw = paragraph["context"].replace("\ufeff", " ")
            text = " ".join(raw.split())
            questions = []
            for qa in paragraph["qas"]:
                start = len(" ".join(raw[: qa["answers"][0]["answer_start"]].split()))
                question = " ".join(qa["question"].replace("\ufeff", " ").split())
                if question:
                    questions.append((question, min(start, len(text) - 1)))
            passages.append(Passage(text, language, f"{language}-{number}", questions))
    return passages


def load_questions(folder: Path) -> dict[str, list[Passage]]:
    """Language → passages, of every XQuAD file in `folder` and of the CMRC 2018 trial set."""
    found = {
        path.name.split(".")[1]: load_squad(path, path.name.split(".")[1])
        for path in sorted(folder.glob("xquad.*.json"))
    }
    found["zh"] = load_squad(folder / "cmrc2018.trial.json", "zh")
    return found


def split(passages: list[Passage]) -> tuple[list[Passage], list[Passage]]:
    """(training, held out): the last `HELD_OUT_PARAGRAPHS` are held out."""
    return passages[:-HELD_OUT_PARAGRAPHS], passages[-HELD_OUT_PARAGRAPHS:]


def _docstrings(path: Path) -> list[tuple[str, str]]:
    """(name, docstring) of every module, class and function in one source file."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return []
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    documented = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    return [
        (getattr(node, "name", path.stem), text)
        for node in documented
        if (text := ast.get_docstring(node))
    ]


def _pieces(text: str, limit: int = 900) -> list[str]:
    """Blank-line paragraphs of `text`, joined up to `limit` characters, white space collapsed."""
    pieces: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text):
        paragraph = " ".join(paragraph.split())[: 2 * limit]
        if pieces and len(pieces[-1]) + len(paragraph) < limit:
            pieces[-1] += " " + paragraph
        elif paragraph:
            pieces.append(paragraph)
    return pieces


def _spoken(name: str) -> str:
    return " ".join(re.sub(r"([a-z])([A-Z])", r"\1 \2", name).replace("_", " ").split()).lower()


def docstring_question(name: str, summary: str, kind: int) -> str:
    """A natural-language question made of a docstring's first line, by one of six templates."""
    summary = summary.rstrip(". ")
    lowered = summary[:1].lower() + summary[1:]
    return (
        f"How do I {lowered}?",
        f"What does {name} do?",
        f"Which function can {lowered}?",
        f"What is {_spoken(name)} for?",
        f"I need to {lowered}",
        f"how to {_spoken(name)} in Python",
    )[kind % 6]


def load_docstrings() -> tuple[list[Passage], list[Passage]]:
    """(training, held out) passages of the running Python's standard library, in sorted order.

    A passage is a docstring (or a piece of a long one) and, for the first piece, questions made of
    its first line by `docstring_question`. The language reference that ships as
    `pydoc_data/topics.py` is added to the training part. Licence: PSF.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    training: list[Passage] = []
    held_out: list[Passage] = []
    seen: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root).parts
        if SKIPPED_FOLDERS & set(parts[:-1]) or parts[0] == "pydoc_data":
            continue
        module = parts[0].removesuffix(".py").lstrip("_")
        module = {"pydatetime": "datetime", "collections_abc": "collections"}.get(module, module)
        target = held_out if module in HELD_OUT_MODULES else training
        for name, text in _docstrings(path):
            for number, piece in enumerate(_pieces(text)):
                if len(piece) < 120 or piece in seen:
                    continue
                seen.add(piece)
                passage = Passage(f"{name}: {piece}", "en", f"en-{module}")
                summary = " ".join(text.strip().split("\n\n")[0].split())
                if number == 0 and 15 < len(summary) < 110:
                    kinds = [docstring_question(name, summary, kind) for kind in range(6)]
                    passage.questions = [(question, 0) for question in kinds]
                target.append(passage)
    from pydoc_data.topics import topics

    for topic in sorted(topics):
        for piece in _pieces(topics[topic]):
            if len(piece) >= 200 and piece not in seen:
                seen.add(piece)
                training.append(Passage(piece, "en", f"topic-{topic}"))
    return training, held_out
