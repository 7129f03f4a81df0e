"""What the page says, in both languages, and its examples."""

from __future__ import annotations

import asyncio
import io
import zipfile

import pytest

from qwen3_rerank.page.inputs import (
    MOST_CHARACTERS,
    MOST_DOCUMENTS,
    PageError,
    documents_of,
    query_of,
)
from qwen3_rerank.page.models import RankRefusedError
from qwen3_rerank.page.ranking import problem
from qwen3_rerank.page.store import Upload
from qwen3_rerank.page.tasks import EXAMPLES, OWN, TASKS, task_choices, task_of
from qwen3_rerank.page.texts import _WORDS, FILE_PROBLEMS, LANGUAGES, Language, language_of, say
from qwen3_rerank.reading.document_files import Split
from shared_core import Reranker
from shared_core.errors import (
    ClosedError,
    DeviceMemoryError,
    RemoteError,
    ScoringError,
    ServerUnreachableError,
)


def large_workbook() -> bytes:
    with zipfile.ZipFile(file := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("xl/workbook.xml", " " * 2_000_000)
    return file.getvalue()


def documents(text: str, split: Split, file: Upload | None, language: Language) -> list[str]:
    return asyncio.run(documents_of(text, split, file, language))


def test_documents_are_those_typed_in_then_those_of_the_file() -> None:
    file = Upload("a.jsonl", b'"one"\n{"text": "two"}\n')
    assert documents("x\n\ny", "lines", file, "en") == ["x", "y", "one", "two"]
    assert documents("x\ny\n\nz", "paragraphs", None, "en") == ["x\ny", "z"]
    file = Upload("b.csv", b"id,text\n1,hello\n")
    assert documents("", "lines", file, "en") == ["hello"]


def test_what_cannot_be_ranked_is_said_in_the_language_of_the_page() -> None:
    for text, file, part in (
        (" \n ", None, "至少"),
        ("x\n" * (MOST_DOCUMENTS + 1), None, str(MOST_DOCUMENTS)),
        ("x" * (MOST_CHARACTERS + 1), None, str(MOST_CHARACTERS)),
    ):
        with pytest.raises(PageError, match=part):
            documents(text, "lines", file, "zh")
    for text in (" ", "\ud800"):
        with pytest.raises(PageError):
            query_of(text, "en")


BAD_FILES = {
    "encoding": ("a.txt", b"fine\n\xff", "a.txt 第 2 行：编码不是"),
    "json_at": ("a.jsonl", b'"fine"\n{', "a.jsonl 第 2 行：第 2 个字符处"),
    "json": ("a.jsonl", b"NaN", "a.jsonl 第 1 行：不是有效的 JSON"),
    "field": ("a.jsonl", b'{"body": "x"}', "a.jsonl 第 1 行：没有存放正文的字段（现有：body）"),
    "not_string": ("a.jsonl", b'{"text": 1}', "字段 text 不是字符串"),
    "kind": ("a.jsonl", b"7", "应为字符串或对象"),
    "surrogate": ("a.jsonl", rb'"a\ud800"', "第 2 个字符是半个代理对"),
    "csv": ("a.csv", b'text\n"a" b\n', "a.csv 第 2 行：不是有效的 CSV"),
    "column": ("a.csv", "题,答\n1,2\n".encode(), "没有存放正文的列（现有：题, 答）"),
    "cells": ("a.csv", b"id,text\n1\n", "a.csv 第 2 行：有 1 个单元格，应为 2 个"),
    "workbook": ("a.xlsx", b"PK", "a.xlsx：不是可以读取的 xlsx"),
    "unpacked": ("a.xlsx", large_workbook(), "a.xlsx：工作簿太大：解压后最多 8 MiB"),
}


@pytest.mark.parametrize("problem", FILE_PROBLEMS)
def test_what_is_wrong_with_a_file_is_said_in_the_language_of_the_page(problem: str) -> None:
    name, content, said = BAD_FILES[problem]
    with pytest.raises(PageError) as caught:
        documents("", "lines", Upload(name, content), "zh")
    assert str(caught.value).startswith("无法读取文件：")
    assert said in str(caught.value)
    with pytest.raises(PageError, match=f"The file cannot be read: {name}"):
        documents("", "lines", Upload(name, content), "en")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (RankRefusedError(422, "reason"), "超出本服务的限制"),
        (RankRefusedError(429, "reason"), "请求太多"),
        (RankRefusedError(503, "reason"), "模型尚未就绪"),
        (RankRefusedError(504, "reason"), "没有在规定时间内"),
        (RankRefusedError(507, "reason"), "内存不足"),
        (RankRefusedError(418, "reason"), "无法得到分数"),
        (DeviceMemoryError("reason"), "内存不足"),
        (ServerUnreachableError("reason"), "没有在规定时间内"),
        (RemoteError("reason"), "提供分数的服务器出错"),
        (ClosedError("reason"), "模型尚未就绪"),
        (ScoringError("reason"), "无法得到分数"),
        (ValueError("reason"), "输入或选项不合要求"),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'status', '')}",
)
def test_errors_are_said_in_the_language_of_the_page(error: Exception, sentence: str) -> None:
    """A sentence that says what to do, and behind it the technical text."""
    said = problem(error, "zh")
    assert said.startswith(sentence)
    assert said.endswith(f"（详情：{error}）")
    assert problem(error, "en") == f"No scores could be had: {error}"


def test_every_sentence_is_there_in_both_languages_with_the_same_values() -> None:
    import string

    for word, sentences in _WORDS.items():
        names = [{part[1] for part in string.Formatter().parse(one)} for one in sentences]
        assert names[0] - {None} == names[1] - {None}, word
        assert all(sentences), word
    assert say("tokens", "zh", count=3) == "3 个 token"
    assert language_of("fr-FR, zh-TW;q=0.5") == "zh"


def test_tasks_and_examples_fit_together() -> None:
    assert len(TASKS) >= 8
    sentences = [task[2] for task in TASKS.values()]
    assert len(set(sentences)) == len(sentences)
    assert all(task_of(sentence) == sentence for sentence in sentences)
    assert [value for _, value in task_choices("zh")] == [*sentences, OWN]
    for example in EXAMPLES.values():
        assert {example.task, example.second_task} <= TASKS.keys()
        assert len(example.documents[0]) == len(example.documents[1]) >= 6


@pytest.mark.parametrize("place", range(len(LANGUAGES)), ids=LANGUAGES)
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_come_out_right(name: str, place: int, tiny: Reranker) -> None:
    """With the bundled model, which people see first."""
    example = EXAMPLES[name]
    first = tiny.rerank(
        example.queries[place], example.documents[place], instruction=TASKS[example.task][2]
    )[0]
    assert first.index in example.answers
    assert first.score > 0.5
