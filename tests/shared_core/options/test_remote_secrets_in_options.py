"""A key goes to the server and nowhere else: not to errors, logs, traces, dumps or results.

The server of these tests refuses everything, and repeats all headers, the key included.
"""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.tiny_server import TinyServer, tiny_server, unreachable_url

from shared_core import Reranker, RerankError
from shared_core.errors import ServerStatusError

KEY = "sk-1234567890abcdef"
HEADER = "hk-fedcba0987654321"
ENVIRONMENT = "ek-5555555555666666"
SECRETS = (KEY, HEADER, ENVIRONMENT)
TEXTS = ["one document", "another document"]


def leaks(*shown: Any) -> list[str]:
    """Return what of these, as text, holds a secret."""
    texts = [one if isinstance(one, str) else repr(one) for one in shown]
    return [text for text in texts if any(secret in text for secret in SECRETS)]


def core(**options: Any) -> Any:
    return Reranker(**options)


def langchain(**options: Any) -> Any:
    pytest.importorskip("langchain_core", reason="no LangChain here: pip install -e '.[langchain]'")
    from langchain_qwen3_rerank import Qwen3Rerank

    return Qwen3Rerank(**options)


def cross_encoder(**options: Any) -> Any:
    pytest.importorskip("langchain_core", reason="no LangChain here: pip install -e '.[langchain]'")
    from langchain_qwen3_rerank import Qwen3CrossEncoder

    return Qwen3CrossEncoder(**options)


def llama_index(**options: Any) -> Any:
    pytest.importorskip(
        "llama_index.core", reason="no LlamaIndex here: pip install -e '.[llama-index]'"
    )
    from llama_index_qwen3_rerank import Qwen3Rerank

    return Qwen3Rerank(**options)


MAKERS = [core, langchain, cross_encoder, llama_index]
ADAPTERS = [langchain, cross_encoder, llama_index]


def run(made: Any) -> Any:
    """Rerank two documents with whatever was made."""
    kind = type(made).__module__
    if kind.startswith("langchain") and hasattr(made, "score"):
        return made.score([("query", text) for text in TEXTS])
    if kind.startswith("langchain"):
        from langchain_core.documents import Document

        return made.compress_documents([Document(text) for text in TEXTS], "query")
    if kind.startswith("llama_index"):
        return made.postprocess_nodes(_nodes(), query_str="query")
    return made.rerank("query", TEXTS)


async def arun(made: Any) -> Any:
    """`run`, awaited; a cross encoder has no such form."""
    kind = type(made).__module__
    if kind.startswith("langchain"):
        from langchain_core.documents import Document

        return await made.acompress_documents([Document(text) for text in TEXTS], "query")
    if kind.startswith("llama_index"):
        return await made.apostprocess_nodes(_nodes(), query_str="query")
    return await made.arerank("query", TEXTS)


def _nodes() -> list[Any]:
    from llama_index.core.schema import NodeWithScore, TextNode

    return [NodeWithScore(node=TextNode(text=text), score=0.5) for text in TEXTS]


def options_for(url: str, **more: Any) -> dict[str, Any]:
    return {
        "base_url": url,
        "api_key": KEY,
        "headers": {"x-gate": HEADER},
        "dialect": "plain",
        "template": "server",
        "max_retries": 0,
        **more,
    }


@pytest.fixture
def refusing() -> Iterator[TinyServer]:
    with tiny_server(refuses=401) as server:
        yield server


@pytest.fixture
def failing() -> Iterator[TinyServer]:
    """A server whose failure may pass, and which repeats what it was told."""
    with tiny_server(refuses=500) as server:
        yield server


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """All that was logged, by anybody, at any level."""
    with caplog.at_level(1):
        for name in ("qwen3_rerank", "httpx", "httpcore", "asyncio", "langchain", "llama_index"):
            caplog.set_level(logging.DEBUG, name)
        yield lambda: [f"{record.getMessage()} {record.__dict__}" for record in caplog.records]


def failure_of(call: Callable[[], Any]) -> BaseException:
    """Return what a call raises. A function of its own, so that its frame holds no secret."""
    with pytest.raises(RerankError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    ("make", "how"),
    [
        (make, how)
        for make in MAKERS
        for how in ("sync", "async")
        if (make, how) != (cross_encoder, "async")  # it has no async form
    ],
)
def test_a_refused_key_is_in_neither_error_nor_traceback_nor_log(
    make: Any, how: str, refusing: TinyServer, log: Callable[[], list[str]]
) -> None:
    made = make(**options_for(refusing.url))
    error = failure_of(lambda: run(made) if how == "sync" else asyncio.run(arun(made)))
    assert isinstance(error, ServerStatusError)
    assert (error.status, refusing.headers[0]["authorization"]) == (401, f"Bearer {KEY}")
    assert refusing.headers[0]["x-gate"] == HEADER
    assert "I was told" in str(error)
    assert "***" in str(error)
    chain, seen = [error], {id(error)}
    while (link := chain[-1].__cause__ or chain[-1].__context__) and id(link) not in seen:
        chain.append(link)
        seen.add(id(link))
    for link in chain:
        assert not leaks(link, str(link), vars(link), "".join(traceback.format_exception(link)))
    assert not leaks(pickle.loads(pickle.dumps(error)))  # noqa: S301 - our own bytes
    assert any("401" in line for line in log())
    assert not leaks(*log())


@pytest.mark.parametrize("make", MAKERS)
def test_a_key_of_the_environment_is_shown_no_more_than_another(
    make: Any,
    refusing: TinyServer,
    log: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("QWEN3_RERANK_API_KEY", ENVIRONMENT)
    made = make(**options_for(refusing.url, api_key=None))
    error = failure_of(lambda: run(made))
    assert refusing.headers[0]["authorization"] == f"Bearer {ENVIRONMENT}"
    assert not leaks(error, str(error), made, *log())


@pytest.mark.parametrize("make", [core, langchain, llama_index])
@pytest.mark.parametrize("how", ["sync", "async"])
def test_documents_passed_through_say_why_without_the_key(
    make: Any, how: str, failing: TinyServer, log: Callable[[], list[str]]
) -> None:
    made = make(**options_for(failing.url, on_error="passthrough"))
    found = run(made) if how == "sync" else asyncio.run(arun(made))
    assert [text for one in found for text in TEXTS if text in repr(one)] == TEXTS
    assert "answered 500" in repr(found)
    assert any("passing 2 documents through" in line for line in log())
    assert not leaks(found, *log())


@pytest.mark.parametrize("make", [core, langchain, llama_index])
def test_a_refused_key_is_never_passed_through(make: Any, refusing: TinyServer) -> None:
    made = make(**options_for(refusing.url, on_error="passthrough"))
    for call in (lambda: run(made), lambda: asyncio.run(arun(made))):
        assert isinstance(failure_of(call), ServerStatusError)


@pytest.mark.parametrize("make", MAKERS)
def test_an_unreachable_server_is_an_error_without_the_key(
    make: Any, log: Callable[[], list[str]]
) -> None:
    made = make(**options_for(unreachable_url()))
    error = failure_of(lambda: run(made))
    assert "Is the server running" in str(error)
    assert not leaks(error, *traceback.format_exception(error), *log())


@pytest.mark.parametrize("make", MAKERS)
def test_it_is_in_no_repr_and_no_dump(make: Any) -> None:
    made = make(**options_for("http://localhost"))
    options = made.options if make is core else made.reranker.options
    shown = [made, str(made), options, options.model_dump(), options.model_dump_json()]
    if make is not core:
        shown += [made.model_dump(), made.model_dump_json(), dict(made), vars(made)]
        shown += [made.model_dump(include={"api_key", "headers", "model"}), made.reranker]
        shown += [made.model_dump(serialize_as_any=True), made.model_dump(warnings=False)]
    assert not leaks(*shown)
    assert options.api_key.get_secret_value() == KEY  # it is there all the same


@pytest.mark.parametrize("make", ADAPTERS)
def test_a_shared_reranker_lends_its_key_and_shows_it_as_little(make: Any) -> None:
    made = make(reranker=Reranker(**options_for("http://localhost")))
    assert made.api_key.get_secret_value() == KEY
    assert not leaks(made, made.model_dump(), made.model_dump_json())


@pytest.mark.parametrize("make", ADAPTERS)
@pytest.mark.parametrize(
    ("options", "named", "expected"),
    [
        ({"openai_api_key": KEY}, "openai_api_key", "no such option. Did you mean api_key?"),
        ({"api_key": KEY, "max_length": 0}, "max_length", "greater than or equal to 1"),
        ({"api_key": [KEY]}, "api_key", "a valid string"),
        ({"api_key": f"{KEY}\u00e9"}, "api_key", "no HTTP header can carry"),
        ({"headers": [KEY]}, "headers", "a valid dictionary"),
        ({"headers": {"x-gate": [KEY]}}, "headers.x-gate", "a valid string"),
        ({"api_key": KEY, "backend": "remote"}, "backend", "needs base_url"),
        ({"api_key": KEY, "reranker": Reranker("tiny")}, "api_key", "got both reranker and other"),
        ({"base_url": f"http://me:{KEY}@host"}, "base_url", "give api_key or headers instead"),
    ],
)
def test_a_wrong_option_is_named_and_the_key_is_not_shown(
    make: Any, options: dict[str, Any], named: str, expected: str
) -> None:
    with pytest.raises(ValueError, match=expected) as caught:
        make(**options)
    assert named in str(caught.value)
    assert not leaks(str(caught.value), caught.value.errors(), caught.value.json())
    assert not leaks(*traceback.format_exception(caught.value))


@pytest.mark.parametrize("make", [langchain, llama_index])
@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"top_k": 1, "min_docs": 2}, "min_docs=2 asks for more documents than top_k=1"),
        ({"top_k": 1, "top_n": 2}, "got both top_k and top_n"),
    ],
)
def test_options_that_contradict_one_another_do_not_show_the_key_beside_them(
    make: Any, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named) as caught:
        make(api_key=KEY, headers={"x-gate": HEADER}, **options)
    assert not leaks(str(caught.value), caught.value.errors(), caught.value.json())


@pytest.mark.parametrize("make", ADAPTERS)
def test_a_refused_assignment_does_not_show_the_key(make: Any) -> None:
    made = make(**options_for("http://localhost"))
    for name, value, expected in [
        ("api_key", KEY, "api_key cannot change"),
        ("headers", {"x-gate": KEY}, "headers cannot change"),
        ("openai_api_key", KEY, "openai_api_key\\n  there is no such option"),
        ("instruction", [KEY], "instruction"),
    ]:
        with pytest.raises(ValueError, match=expected) as caught:
            setattr(made, name, value)
        assert not leaks(caught.value, str(caught.value))
        assert not leaks(getattr(caught.value, "errors", list)())
    with pytest.raises(ValueError, match="api_key cannot change") as refused:
        made.model_copy(update={"api_key": KEY})
    assert not leaks(refused.value)


@pytest.mark.parametrize("make", ADAPTERS)
def test_copies_and_pickles_keep_the_key_and_show_none(make: Any) -> None:
    """A worker process needs the key. Dumps lose it: see the docstring of `RerankerHolder`."""
    made = make(**options_for("http://localhost"))
    for copied in (
        copy.copy(made),
        copy.deepcopy(made),
        made.model_copy(deep=True),
        pickle.loads(pickle.dumps(made)),  # noqa: S301 - our own bytes
    ):
        assert copied.api_key.get_secret_value() == KEY
        assert copied.headers["x-gate"].get_secret_value() == HEADER
        assert copied.reranker.options == made.reranker.options
        assert not leaks(copied)
    dump = {name: value for name, value in made.model_dump().items() if name != "class_name"}
    restored = type(made)(**dump)
    assert (restored.api_key, restored.headers) == (None, {})
    assert restored.base_url == "http://localhost"
    assert type(made)(**dump, api_key=KEY).reranker.options.api_key.get_secret_value() == KEY


def test_llama_index_dumps_hold_none_and_take_it_again() -> None:
    made = llama_index(**options_for("http://localhost"))
    dump = made.to_dict()
    assert not leaks(dump, made.to_json(), json.dumps(dump))
    kind = type(made)
    assert kind.from_dict(dump).api_key is None
    assert kind.from_dict(dump, api_key=KEY).api_key.get_secret_value() == KEY
    assert kind.from_json(made.to_json(), api_key=KEY).base_url == "http://localhost"


def test_langchain_dumps_hold_none() -> None:
    langchain_core = pytest.importorskip(
        "langchain_core", reason="no LangChain here: pip install -e '.[langchain]'"
    )
    from langchain_core.load import dumpd, dumps
    from langchain_core.runnables import RunnableLambda

    from langchain_qwen3_rerank import Qwen3RerankRetriever

    assert langchain_core
    made = langchain(**options_for("http://localhost"))
    retriever = Qwen3RerankRetriever(base_retriever=RunnableLambda(lambda query: []), reranker=made)
    chain = retriever | RunnableLambda(len)
    assert not leaks(dumps(made), dumpd(retriever), dumps(chain), retriever, chain)
    assert not leaks(retriever.model_dump(exclude={"base_retriever"}), chain.get_graph().to_json())


@pytest.mark.parametrize(
    "options",
    [
        {"reranker": {"api_key": KEY, "max_length": 0}},
        {"reranker": KEY},
        {"openai_api_key": KEY},
        {"base_retriever": KEY},
    ],
)
def test_a_retriever_that_is_refused_does_not_show_the_key(options: dict[str, Any]) -> None:
    pytest.importorskip("langchain_core", reason="no LangChain here: pip install -e '.[langchain]'")
    from langchain_qwen3_rerank import Qwen3RerankRetriever

    with pytest.raises(ValueError, match=next(iter(options))) as caught:
        Qwen3RerankRetriever(**options)
    assert not leaks(str(caught.value))


def test_langchain_traces_hold_none(failing: TinyServer) -> None:
    pytest.importorskip("langchain_core", reason="no LangChain here: pip install -e '.[langchain]'")
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.documents import Document
    from langchain_core.runnables import RunnableLambda
    from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

    from langchain_qwen3_rerank import Qwen3RerankRetriever

    heard: list[Any] = []

    class Listening(BaseCallbackHandler):
        def on_chain_start(self, *given: Any, **named: Any) -> None:
            heard.append((given, named))

        on_chain_end = on_chain_error = on_chain_start
        on_retriever_start = on_retriever_end = on_retriever_error = on_chain_start

    collector = RunCollectorCallbackHandler()
    config: Any = {"callbacks": [Listening(), collector]}
    for on_error in ("raise", "passthrough"):
        made = langchain(**options_for(failing.url, on_error=on_error))
        retriever = Qwen3RerankRetriever(
            base_retriever=RunnableLambda(lambda query: [Document(text) for text in TEXTS]),
            reranker=made,
        )
        try:
            retriever.invoke("query", config)
        except ServerStatusError:
            assert on_error == "raise"
    assert any("Qwen3Rerank" in repr(one) for one in heard)
    runs = [run.model_dump_json(fallback=repr) for run in collector.traced_runs]
    assert any("answered 500" in run for run in runs)
    assert not leaks(*heard, *runs)


def test_llama_index_events_and_spans_hold_none(failing: TinyServer) -> None:
    pytest.importorskip(
        "llama_index.core", reason="no LlamaIndex here: pip install -e '.[llama-index]'"
    )
    from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
    from llama_index.core.instrumentation import get_dispatcher
    from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
    from support.llama_index_samples import EventRecorder

    root, events, spans = get_dispatcher(), EventRecorder(), SimpleSpanHandler()
    before = list(root.event_handlers), list(root.span_handlers)
    root.add_event_handler(events)
    root.add_span_handler(spans)
    handler = LlamaDebugHandler(print_trace_on_end=False)
    try:
        for on_error in ("raise", "passthrough"):
            made = llama_index(
                **options_for(failing.url, on_error=on_error),
                callback_manager=CallbackManager([handler]),
            )
            try:
                run(made)
            except ServerStatusError:
                assert on_error == "raise"
    finally:
        root.event_handlers, root.span_handlers = before
    assert len(events.starts) == len(events.ends) == 2
    assert len(spans.completed_spans) == len(spans.dropped_spans) == 1
    told = [event.model_dump_json(fallback=repr) for event in events.events]
    assert any("answered 500" in text for text in told)
    payloads = [
        event.payload for pair in handler.get_event_pairs(CBEventType.RERANKING) for event in pair
    ]
    assert len(payloads) == 4
    assert not leaks(*told, *events.events, *payloads, *spans.completed_spans, *spans.dropped_spans)
