"""Where texts are cut."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared_core.windows.sentences import cut_into, is_between_characters, sentences

ANY_TEXT = st.text(
    st.sampled_from(
        "ab Z1.!?…,;:\"'”)\n\r\t　。！？」।؟།あ한ᄒ\u1161क\u094dषé\u0301\u200d👩🚀👍🏽🇩🇪🇫\ufe0f"
    )
)


def parts(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("one", ["one"]),
        ("  One. Two!  ", ["  One. ", "Two!  "]),
        ("Wait... What?! “Yes.” He left.", ["Wait... ", "What?! ", "“Yes.” ", "He left."]),
        ("It costs 3.50 at example.com today.", ["It costs 3.50 at example.com today."]),
        ("e.g. this, and Mr. Smith, J. Doe.", ["e.g. this, and Mr. Smith, J. Doe."]),
        (
            "Am 27. Januar 1967. Es war 27. Er ging.",
            ["Am 27. Januar 1967. ", "Es war 27. ", "Er ging."],
        ),
        ("“Stop!” she said. He did.", ["“Stop!” she said. ", "He did."]),
        ("a\n\nb", ["a\n\n", "b"]),
        ("Title\nFirst line\nwraps here", ["Title\n", "First line\nwraps here"]),
        ("End.\r\nNext", ["End.\r\n", "Next"]),
        ("他走了。她来了？好！", ["他走了。", "她来了？", "好！"]),
        ("「行くよ。」と言った。はい。", ["「行くよ。」", "と言った。", "はい。"]),
        ("यह एक है। वह दो है। तीन॥", ["यह एक है। ", "वह दो है। ", "तीन॥"]),
        ("هل جاء؟ نعم. ذهب۔", ["هل جاء؟ ", "نعم. ", "ذهب۔"]),
        ("Это первое. Это второе!", ["Это первое. ", "Это второе!"]),
        ("Ναι. Όχι.", ["Ναι. ", "Όχι."]),
        ("በቃ። ሄደ።", ["በቃ። ", "ሄደ።"]),
        ("ဟုတ်။ လာ။", ["ဟုတ်။ ", "လာ။"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert parts(text) == expected


@given(ANY_TEXT)
def test_sentences_are_the_whole_text_and_divide_no_character(text: str) -> None:
    spans = sentences(text)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(start < end for start, end in spans) or text == ""
    for _, end in spans[:-1]:
        assert is_between_characters(text, end)


@given(ANY_TEXT, st.integers(1, 12))
def test_parts_are_the_whole_text_and_never_longer_than_asked(text: str, step: int) -> None:
    spans = cut_into(text, (0, len(text)), step)
    assert "".join(text[start:end] for start, end in spans) == text
    assert all(end - start <= step for start, end in spans)


@pytest.mark.parametrize(
    ("text", "step", "expected"),
    [
        ("one two three four", 9, ["one two ", "three ", "four"]),
        ("alpha, beta gamma", 11, ["alpha, ", "beta gamma"]),
        ("first line\nsecond line of it", 16, ["first line\n", "second line of ", "it"]),
        ("甲乙，丙丁戊己", 4, ["甲乙，", "丙丁戊己"]),
        ("cafe\u0301cafe\u0301", 4, ["caf", "e\u0301ca", "fe\u0301"]),
        ("👩\u200d🚀👩\u200d🚀", 4, ["👩\u200d🚀", "👩\u200d🚀"]),
        ("🇩🇪🇫🇷🇮🇹", 3, ["🇩🇪", "🇫🇷", "🇮🇹"]),
    ],
)
def test_where_no_sentence_ends(text: str, step: int, expected: list[str]) -> None:
    """At a line break, else at the end of a clause, else at a blank, else between characters."""
    assert [text[a:b] for a, b in cut_into(text, (0, len(text)), step)] == expected


@given(ANY_TEXT.filter(lambda text: len(text) > 1), st.data())
def test_a_cut_never_separates_a_mark_from_its_letter(text: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(text) - 1))
    if is_between_characters(text, place):
        assert not unicodedata.category(text[place]).startswith("M")
        assert text[place - 1] != "\u200d"
        assert text[place - 1 : place + 1] != "\r\n"
