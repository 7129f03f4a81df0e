"""Questions with a passage that answers them and one that does not, and the like with images."""

from __future__ import annotations

from shared_core.images.bundled import DISC, SQUARE
from shared_core.images.content import Content

PAIRS = (
    (
        "How long should green tea steep?",
        "Green tea should steep for two to three minutes at about 80 °C.",
        "The mountain railway runs every hour from April to October.",
    ),
    (
        "What is the capital of France?",
        "Paris is the capital and the largest city of France.",
        "A violin has four strings, tuned in perfect fifths.",
    ),
    (
        "How do I reset my password?",
        "To reset your password, open the settings and choose Reset password.",
        "Our stores are closed on public holidays.",
    ),
    (
        "Why is the sky blue?",
        "The sky is blue because air scatters blue light more than red light.",
        "Sourdough bread needs flour, water, salt and time.",
    ),
    (
        "北京有多少人口？",
        "北京市的常住人口约为两千一百八十万人。",
        "这款咖啡机可以用手机控制。",
    ),
    (
        "Who pays for the return of a parcel?",
        "The customer pays for the return of the parcel, unless the goods are faulty.",
        "Whales are mammals that live in the sea.",
    ),
)
"""(query, a document that answers it, one that does not): no reranker should get these wrong."""

_RED, _BLUE = "A red square on a white background.", "A blue disc on a white background."
_SQUARE, _DISC = Content(images=[SQUARE]), Content(images=[DISC])

IMAGE_PAIRS = (
    (_RED, _SQUARE, _DISC),
    (_BLUE, _DISC, _SQUARE),
    (_SQUARE, _RED, _BLUE),
    (_DISC, _BLUE, _RED),
    (_SQUARE, _SQUARE, _DISC),
    (_DISC, _DISC, _SQUARE),
)
"""The like for models that see. Every answer is wrong elsewhere: who does not see gets half."""
