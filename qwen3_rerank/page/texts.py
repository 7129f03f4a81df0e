"""Texts of the page, in English and Chinese."""

from __future__ import annotations

from typing import Literal, get_args

from qwen3_rerank.reading.text import InputError

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)
LANGUAGE_NAMES: dict[str, Language] = {"English": "en", "中文": "zh"}

_FAILED = "No scores could be had: {reason}"
_WORDS: dict[str, tuple[str, str]] = {
    "title": ("What answers the question?", "哪一段回答了问题？"),
    "subtitle": (
        "Paste a question and some passages: the model reads every pair and puts them in order.",
        "粘贴一个问题和若干段落，模型会逐一判断，按相关程度重新排序。",
    ),
    "language": ("Language", "语言"),
    "model": ("Model", "模型"),
    "bundled": (
        "is a small one that comes with the package, for a first look. The real one:",
        "是随软件包附带的小模型，仅供初步体验。使用真正的模型：",
    ),
    "query": ("Question", "问题"),
    "query_hint": ("What do you want to know?", "你想知道什么？"),
    "task": ("Task", "任务"),
    "instruction": (
        "Instruction: what counts as relevant (English works best)",
        "指令：说明什么算相关（用英文效果最好）",
    ),
    "second_instruction": ("Second instruction", "第二条指令"),
    "second_task": ("Second task", "第二个任务"),
    "documents": ("Documents", "文档"),
    "documents_hint": ("One per line, or separated by blank lines", "每行一篇，或用空行分隔"),
    "split": ("Separated by", "分隔方式"),
    "lines": ("Line breaks", "换行"),
    "paragraphs": ("Blank lines", "空行"),
    "file": ("Add a file: txt, jsonl, csv or xlsx", "添加文件：txt、jsonl、csv 或 xlsx"),
    "images": ("Add images: each one is a document", "添加图片：每张图片是一篇文档"),
    "query_images": ("Add images to the question", "为问题添加图片"),
    "top_k": ("How many to keep (0: all)", "保留几篇（0 为全部）"),
    "max_candidates": ("How many to score, the first ones (0: all)", "只给前几篇打分（0 为全部）"),
    "time_budget": ("Seconds for scoring (0: no limit)", "打分限时，单位秒（0 为不限）"),
    "not_scored": ("not scored", "未打分"),
    "evidence": ("Show where the answer is", "标出答案所在的句子"),
    "long": ("Long documents", "长文档"),
    "truncate": ("Cut the end", "截断末尾"),
    "windows": ("Best part counts", "取最佳片段"),
    "window_tokens": ("Tokens of a part", "片段的 token 数"),
    "more": ("More options", "更多选项"),
    "rank": ("Rank", "排序"),
    "compare": ("Compare", "对比"),
    "rank_tab": ("Ranking", "排序结果"),
    "compare_tab": ("Two instructions", "两条指令对比"),
    "examples": ("Try an example", "试试示例"),
    "empty": (
        "The ranking appears here. Try an example, or paste your own and press Rank.",
        "结果会显示在这里。可以先试一个示例，或粘贴自己的内容后点击“排序”。",
    ),
    "empty_compare": (
        "Two rankings of the same documents appear here, side by side.",
        "同一批文档在两条指令下的结果会并排显示在这里。",
    ),
    "waiting": (
        "No answer yet. What is below is from before. If the server has stopped, start it: "
        "this page then loads anew.",
        "尚未收到结果，下面是之前的内容。如果服务已停止，请重新启动，页面会随之刷新。",
    ),
    "refused": (
        "The server did not rank this. Try again, or with less text.",
        "服务没有处理这次请求，请重试，或减少文本。",
    ),
    "no_query": ("Write a question first.", "请先填写问题。"),
    "no_documents": ("Give at least one document.", "请至少提供一篇文档。"),
    "too_many": (
        "{count} documents: the page takes {most} at once. The command line takes any number: "
        "qwen3-rerank rank --help.",
        "共 {count} 篇文档，页面一次最多 {most} 篇；命令行没有此限制（qwen3-rerank rank --help）。",
    ),
    "too_long": (
        "{count} characters: the page takes {most} at once.",
        "共 {count} 个字符，页面一次最多 {most} 个。",
    ),
    "bad_file": ("The file cannot be read: {reason}", "无法读取文件：{reason}"),
    "too_many_images": (
        "{count} images: the page takes {most} at once.",
        "共 {count} 张图片，页面一次最多 {most} 张。",
    ),
    "large_image": (
        "{name} has more than {most} bytes: make the image smaller.",
        "{name} 超过 {most} 字节，请缩小图片。",
    ),
    "bad_image": (
        "The image {name} cannot be judged: {reason}",
        "无法使用图片 {name}（详情：{reason}）",
    ),
    "file_gone": ("The file is not kept any more: add it again.", "文件已不再保留，请重新添加。"),
    "bad_text": (
        "The question holds half a character, which no model can read: type it anew.",
        "问题中含有残缺的字符（半个代理对），请重新输入。",
    ),
    "failed": (_FAILED, "无法得到分数（详情：{reason}）"),
    "wrong_input": (_FAILED, "输入或选项不合要求，请修改后重试（详情：{reason}）"),
    "query_too_long": (_FAILED, "问题和指令太长，没有给文档留下位置，请缩短（详情：{reason}）"),
    "limit": (_FAILED, "超出本服务的限制，或内容不合要求，请减少文档或缩短文本（详情：{reason}）"),
    "queue_full": (_FAILED, "请求太多，请稍后再试（详情：{reason}）"),
    "unavailable": (_FAILED, "模型尚未就绪或服务正在停止，请稍后再试（详情：{reason}）"),
    "no_reply": (_FAILED, "没有在规定时间内得到分数，请减少文档或稍后再试（详情：{reason}）"),
    "server_failed": (_FAILED, "提供分数的服务器出错（详情：{reason}）"),
    "no_memory": (_FAILED, "内存不足，请减少文档或缩短文本（详情：{reason}）"),
    "busy": ("The page is busy: try again in a moment.", "页面繁忙，请稍后再试。"),
    "too_large": (
        "This is more than {most} bytes: the page does not take as much at once.",
        "内容超过 {most} 字节，页面一次无法处理。",
    ),
    "too_slow": ("The request did not arrive in time.", "请求未能及时送达。"),
    "content_type": ("Send {kind}, and say so by Content-Type.", "Content-Type 必须是 {kind}。"),
    "bad_values": ("The page does not take these values.", "页面不接受这些值。"),
    "one_file": ("Add one file at a time.", "一次只能添加一个文件。"),
    "file_types": ("The page takes {types} files.", "页面只接受 {types} 文件。"),
    "summary": (
        "{shown} of {count} documents · {seconds} s · {model}",
        "共 {count} 篇，显示 {shown} 篇 · {seconds} 秒 · {model}",
    ),
    "no_answer": (
        "Probably none of these documents answers the question ({percent}).",
        "这些文档中很可能没有问题的答案（{percent}）。",
    ),
    "answer": (
        "That none of them answers the question has a probability of {percent}.",
        "这些文档中没有答案的概率为 {percent}。",
    ),
    "was": ("was {place}", "原第 {place} 位"),
    "up": ("up {places}", "上升 {places} 位"),
    "down": ("down {places}", "下降 {places} 位"),
    "same": ("same place", "位置不变"),
    "stage": ("judged by model {stage} of the cascade", "由级联的第 {stage} 个模型打分"),
    "asked_image": ("image of the question: {name}", "问题的图片：{name}"),
    "tokens": ("{count} tokens", "{count} 个 token"),
    "cut": ("end was cut", "末尾被截断"),
    "window": (
        "best part: characters {start}–{end} of {all}",
        "最佳片段：第 {start}–{end} 个字符，共 {all} 个",
    ),
    "score": ("relevance", "相关度"),
    "in_other": ("{place} in the other", "另一侧第 {place} 位"),
    "not_in_other": ("not kept in the other", "另一侧未保留"),
    "differ": (
        "{count} of {all} documents have another place under the second instruction.",
        "在第二条指令下，{all} 篇文档中有 {count} 篇位置不同。",
    ),
    "show_all": ("whole text", "全文"),
    "download": ("Download", "下载"),
    "own_task": ("My own", "自定义"),
}

FILE_PROBLEMS: dict[str, str] = {
    "encoding": "编码不是 UTF-8、UTF-16 或 GBK，请另存为 UTF-8",
    "json": "不是有效的 JSON",
    "json_at": "第 {character} 个字符处不是有效的 JSON",
    "field": "没有存放正文的字段（现有：{there}），请把它命名为 text 或 内容",
    "not_string": "字段 {field} 不是字符串",
    "kind": "应为字符串或对象",
    "surrogate": "第 {character} 个字符是半个代理对，不是有效的文本",
    "csv": "不是有效的 CSV",
    "column": "没有存放正文的列（现有：{there}），请把这一列的标题改为 text 或 内容",
    "cells": "有 {count} 个单元格，应为 {expected} 个",
    "workbook": "不是可以读取的 xlsx 工作簿",
    "unpacked": "工作簿太大：解压后最多 {most} MiB、{rows} 行，请把工作表另存为 CSV",
}
"""What is wrong with a file, in Chinese, by `InputError.problem`; in English the error says it."""


def file_problem(error: InputError, language: Language) -> str:
    """Return the message about a faulty file.

    >>> file_problem(InputError("not JSON", "json").at("a.jsonl", 2), "zh")
    '无法读取文件：a.jsonl 第 2 行：不是有效的 JSON'
    """
    reason = str(error)
    if language == "zh":
        place = "{name} 第 {line} 行：" if "line" in error.values else "{name}："
        reason = f"{place}{FILE_PROBLEMS[error.problem]}".format_map(error.values)
    return say("bad_file", language, reason=reason)


def say(word: str, language: Language, **values: object) -> str:
    """Return a sentence with its values filled in; they are not escaped.

    >>> say("was", "en", place=3), say("was", "zh", place=3)
    ('was 3', '原第 3 位')
    """
    text = _WORDS[word][LANGUAGES.index(language)]
    return text.format(**values) if values else text


def both(word: str, **values: object) -> str:
    """Return a sentence in both languages, where it is not known which one the page speaks."""
    return " ".join(say(word, language, **values) for language in LANGUAGES)


def language_of(accepted: str | None) -> Language:
    """Return the language of an ``Accept-Language`` header: the first of ours that it names.

    >>> language_of("zh-CN,zh;q=0.9,en;q=0.8"), language_of("de,en;q=0.5"), language_of(None)
    ('zh', 'en', 'en')
    """
    for part in (accepted or "").split(","):
        tag = part.split(";")[0].strip().lower()[:2]
        for language in LANGUAGES:
            if tag == language:
                return language
    return "en"
