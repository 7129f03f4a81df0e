"""Forked children: they work, or say within a second why they cannot; none hangs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

if not hasattr(os, "fork"):
    pytest.skip("this system cannot fork", allow_module_level=True)

COMMON = """
import asyncio, os, signal, sys, threading, time, warnings
warnings.simplefilter("ignore")  # Python 3.12 warns of forks where threads run
from shared_core import ForkedProcessError, Reranker

QUERY, DOCUMENTS = "Which drink?", [f"tea number {n} " * 60 for n in range(30)]

def in_child(name, work):
    # What a child's work returns, which it must within a minute.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # kills it
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, str(answer).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        answer = stream.read()
    ended = os.waitpid(child, 0)[1]
    print(name, "hangs" if ended else answer, flush=True)

def agree(scores, expected):
    return len(scores) == len(expected) and all(
        abs(a - b) < 1e-5 for a, b in zip(scores, expected)
    )

def both(reranker, expected):
    # Synchronous, then asynchronous, then by windows.
    def work():
        one = reranker.score(QUERY, DOCUMENTS)
        other = asyncio.run(reranker.ascore(QUERY, DOCUMENTS))
        asyncio.run(reranker.ascore(QUERY, DOCUMENTS, long_documents="windows", window_tokens=64))
        return agree(one, expected) and agree(other, expected)
    return work
"""

LOCAL = """
import torch
torch.set_num_threads(2)
def make(**options):
    return Reranker(sys.argv[1], dtype="float32", device="cpu", max_batch_tokens=1000, **options)

# Torch's own threads have worked in the thread that forks.
torch.randn(600, 600) @ torch.randn(600, 600)
with make() as reranker:
    expected = reranker.score(QUERY, DOCUMENTS)
reranker = make()
reranker.scorer.load()
in_child("load", both(reranker, expected))
reranker.score(QUERY, DOCUMENTS)
in_child("sync", both(reranker, expected))
in_child("unload", lambda: (reranker.unload(), both(reranker, expected)())[1])
reranker = make(cache_size=100)
asyncio.run(reranker.ascore(QUERY, DOCUMENTS))
in_child("async", both(reranker, expected))
in_child("child of a child", lambda: in_child("inner", both(reranker, expected)) or "done")

reranker = make()
ended = False
def work():
    while not ended:
        assert agree(reranker.score(QUERY, DOCUMENTS), expected)
thread = threading.Thread(target=work)
thread.start()
while not reranker.is_loaded:
    time.sleep(0.01)
for turn in range(5):
    time.sleep(0.03 * turn)
    in_child("at work", both(reranker, expected))
ended = True
thread.join(60)
print("parent", agree(reranker.score(QUERY, DOCUMENTS), expected))

from shared_core import forking
from shared_core.scorers.local import scorer as transformers
forward, slow = transformers._forward, threading.Event()
def slow_forward(loaded, pack):
    slow.set()
    time.sleep(2)
    return forward(loaded, pack)
transformers._forward, forking._PATIENCE = slow_forward, 0.2
thread = threading.Thread(target=reranker.score, args=(QUERY, ["tea"]))
thread.start()
slow.wait(60)
in_child("torn", lambda: reranker.score(QUERY, DOCUMENTS))
thread.join(60)
transformers._forward = forward
print("parent", agree(reranker.score(QUERY, DOCUMENTS), expected))
"""

ADAPTERS = """
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode
import langchain_qwen3_rerank, llama_index_qwen3_rerank

options = dict(model=sys.argv[1], dtype="float32", device="cpu")
compressor = langchain_qwen3_rerank.Qwen3Rerank(**options)
documents = [Document(page_content=text) for text in DOCUMENTS]
expected = asyncio.run(compressor.acompress_documents(documents, QUERY))
def compress():
    return expected == compressor.compress_documents(documents, QUERY) and (
        expected == asyncio.run(compressor.acompress_documents(documents, QUERY))
    )
in_child("langchain", compress)

postprocessor = llama_index_qwen3_rerank.Qwen3Rerank(**options)
nodes = [NodeWithScore(node=TextNode(text=text), score=0.5) for text in DOCUMENTS]
def texts(nodes):
    return [node.text for node in nodes]
ordered = texts(asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=QUERY)))
def postprocess():
    return ordered == texts(postprocessor.postprocess_nodes(nodes, query_str=QUERY)) and (
        ordered == texts(asyncio.run(postprocessor.apostprocess_nodes(nodes, query_str=QUERY)))
    )
in_child("llama_index", postprocess)
"""

REMOTE = """
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if asked["query"] == "slow":
            time.sleep(1)
        results = [
            {"index": n, "relevance_score": len(text) / 10_000, "port": self.client_address[1]}
            for n, text in enumerate(asked["documents"])
        ]
        ports.append(self.client_address[1])
        body = json.dumps({"results": results}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass

# The server is a process of its own, which writes the port of every connection that was used.
reading, writing = os.pipe()
class Ports:
    def append(self, port):
        os.write(writing, b"%d\\n" % port)
ports = Ports()
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
serving = os.fork()
if serving == 0:
    signal.alarm(120)
    server.serve_forever()
stream = os.fdopen(reading)
def port():
    return int(stream.readline())

reranker = Reranker(
    base_url=f"http://127.0.0.1:{server.server_address[1]}", model="m",
    dialect="jina", template="server-fixed",
)
query, documents = "q", ["a" * 50, "b" * 900]
loop = asyncio.new_event_loop()
expected = reranker.score(query, documents)
assert loop.run_until_complete(reranker.ascore(query, documents)) == expected
parents = {port(), port()}

def child():
    one = reranker.score(query, documents)
    other = asyncio.run(reranker.ascore(query, documents))
    childs = {port(), port()}
    return one == other == expected and childs.isdisjoint(parents)
in_child("remote", child)
again = reranker.score(query, documents)
other = loop.run_until_complete(reranker.ascore(query, documents))
print("same connections", again == other == expected and {port(), port()} == parents)

thread = threading.Thread(target=reranker.score, args=("slow", documents))
thread.start()
time.sleep(0.3)
in_child("remote at work", lambda: reranker.score(query, documents) == expected)
thread.join(60)
print("parent", reranker.score(query, documents) == expected)
in_child("closed by child", lambda: reranker.close() or "done")
print("parent", reranker.score(query, documents) == expected)
os.kill(serving, signal.SIGTERM)
"""


def run(script: str, *arguments: str) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-c", COMMON + script, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.splitlines()


def test_a_local_model_works_in_children(checkpoint: Path) -> None:
    lines = run(LOCAL, str(checkpoint))
    torn = [line for line in lines if line.startswith("torn")]
    lines.remove(torn[0])
    assert lines == [
        "load True",
        "sync True",
        "unload True",
        "async True",
        "inner True",
        "child of a child done",
        *["at work True"] * 5,
        "parent True",
        "parent True",
    ]
    assert "ForkedProcessError" in torn[0]
    assert "its parent was loading the model or computing" in torn[0]
    assert "spawn" in torn[0]


def test_both_adapters_work_in_children(checkpoint: Path) -> None:
    pytest.importorskip("langchain_core", reason="no LangChain here: pip install -e '.[langchain]'")
    pytest.importorskip(
        "llama_index.core", reason="no LlamaIndex here: pip install -e '.[llama-index]'"
    )
    assert run(ADAPTERS, str(checkpoint)) == ["langchain True", "llama_index True"]


def test_children_ask_a_server_by_connections_of_their_own() -> None:
    assert run(REMOTE) == [
        "remote True",
        "same connections True",
        "remote at work True",
        "parent True",
        "closed by child done",
        "parent True",
    ]
