"""Texts that tokenizers find hard, generated from a seed."""

from __future__ import annotations

import random

ALPHABETS = {
    "latin": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJ",
    "accents": "éèüßñçøåłžŐ",
    "cyrillic": "абвгдежзиклмнопрстуфхцчшщэюя",
    "greek": "αβγδεζηθικλμνξοπρστυφχψω",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "devanagari": "अआइईउऊएऐकखगघचछजझटठडढणतथदधनपफबभमयरलवशषसहािीुू्",
    "thai": "กขคงจฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพฟภมยรลวศษสหฬอฮะาิีึืุู่้",
    "chinese": "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会",
    "japanese": "あいうえおかきくけこさしすせそアイウエオカキクケコ",
    "korean": "가나다라마바사아자차카타파하한국어",
    "combining": "a\u0301e\u0308o\u0302u\u030an\u0303\u0323",
    "emoji": "😀🎉👩‍👩‍👧‍👦🇩🇪✈️👍🏽",
    "digits": "0123456789",
    "punctuation": ".,;:!?'\"()[]{}<>|/\\@#$%^&*-_=+~`…—“”",
}
SPACES = ("", " ", " ", "  ", "\t", "\n", "\n\n", "\r\n", "\u00a0", "\u3000", "\u200b")
EDGES = (
    "",
    " ",
    "   ",
    "\n",
    "\n\n",
    "\r\n",
    "\t x",
    " leading space",
    "  two leading",
    "\nleading newline",
    "\n\n \nmixed",
    "trailing space ",
    "trailing newline\n",
    "\u0301combining first",
    "👩‍👩‍👧‍👦",
    "'s",
    "'LL go",
    "(parenthesis",
    ".",
    ">:<",
    "...\n...",
    "7",
    "1234567890",
    "ﬁ ligature",
    "Å vs A\u030a",
    "\ufeffBOM",
    "null\x00byte",
    "<Document>: nested",
    "<Instruct>: x\n<Query>: y\n<Document>: z",
)


def random_text(source: random.Random, longest: int = 60) -> str:
    """Return an edge case, or words of one or several scripts with odd white space between."""
    if source.random() < 0.2:
        return source.choice(EDGES)
    scripts = source.sample(sorted(ALPHABETS), source.randint(1, 3))
    text = source.choice(SPACES)
    for _ in range(source.randint(0, longest)):
        alphabet = ALPHABETS[source.choice(scripts)]
        text += "".join(source.choice(alphabet) for _ in range(source.randint(1, 9)))
        text += source.choice(SPACES)
    return text


def random_triples(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """Return (instruction, query, document) triples."""
    source = random.Random(seed)
    return [
        (random_text(source, 12), random_text(source, 20), random_text(source))
        for _ in range(count)
    ]
