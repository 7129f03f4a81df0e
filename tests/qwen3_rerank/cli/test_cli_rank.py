"""`rank` as a process: what it reads and writes, its exit codes, and how it stops."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.prepared_command import run_command

from shared_core import Reranker

QUERY = "At what temperature does mercury freeze?"
DOCUMENTS = [
    "Freddie Mercury was the singer of the band Queen.",
    "The metal mercury is liquid at room temperature; it freezes at −39 °C.",
    "Mercury is the smallest planet and the one closest to the Sun.",
]
COMMAND = [sys.executable, "-c", "from qwen3_rerank.cli import main; main()", "rank"]
TINY = ["--model", "tiny", "--device", "cpu", "--dtype", "float32"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONUNBUFFERED": "1",  # the harder case: a write may write a part
    "COLUMNS": "200",
    "NO_COLOR": "1",
    "HF_HUB_OFFLINE": "1",
    "PYTHONIOENCODING": "utf-8",
}
SECRET = "sk-do-not-print-me"


def run(
    *arguments: str, given: str | bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    raw = given.encode() if isinstance(given, str) else given
    return run_command("rank", *TINY, *arguments, given=raw, cwd=cwd, environment=ENVIRONMENT)


def lines(text: str) -> list[Any]:
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def request(**fields: Any) -> str:
    return json.dumps({"query": QUERY, "documents": DOCUMENTS, **fields}, ensure_ascii=False) + "\n"


def expected(tiny: Reranker, **options: Any) -> list[dict[str, Any]]:
    return [
        {"index": one.index, "score": pytest.approx(one.score, abs=1e-5), "document": one.document}
        for one in tiny.rerank(QUERY, DOCUMENTS, **options)
    ]


def test_arguments_files_and_standard_input_give_one_result_per_line(
    tiny: Reranker, tmp_path: Path
) -> None:
    ranking = expected(tiny)
    done = run(QUERY, *DOCUMENTS)
    assert lines(done.stdout) == ranking
    assert done.returncode == 0
    text = "\n\n".join(DOCUMENTS)
    (tmp_path / "some.txt").write_text(text + "\n", "utf-8")
    (tmp_path / "query.txt").write_text(QUERY + "\n", "utf-8")
    assert lines(run(QUERY, "-f", str(tmp_path / "some.txt")).stdout) == ranking
    done = run("--query-file", str(tmp_path / "query.txt"), "--split", "paragraphs", given=text)
    assert lines(done.stdout) == ranking
    assert lines(run("--query", QUERY, DOCUMENTS[0], "-f", "-", given="\n".join(DOCUMENTS[1:]))
                 .stdout) == ranking  # fmt: skip


def test_there_are_no_progress_bars_where_nobody_watches() -> None:
    with start(QUERY, *DOCUMENTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        printed, said = process.communicate(timeout=120)
    assert len(lines(printed.decode())) == len(DOCUMENTS)
    assert b"%|" not in said


def test_objects_and_tables_come_out_as_they_came_in(tiny: Reranker, tmp_path: Path) -> None:
    order = [one.index for one in tiny.rerank(QUERY, DOCUMENTS)]
    objects = [{"id": place, "body": text} for place, text in enumerate(DOCUMENTS)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(one) + "\n" for one in objects))
    done = run(QUERY, "--file", str(tmp_path / "a.jsonl"), "--field", "body")
    assert [one["document"] for one in lines(done.stdout)] == [objects[index] for index in order]
    table = "\ufeffid,text\r\n" + "".join(f'{i},"{text}"\r\n' for i, text in enumerate(DOCUMENTS))
    (tmp_path / "b.csv").write_bytes(table.encode())
    done = run(QUERY, "--file", str(tmp_path / "b.csv"), "--top-k", "1")
    best = order[0]
    assert lines(done.stdout)[0]["document"] == {"id": str(best), "text": DOCUMENTS[best]}
    assert len(lines(done.stdout)) == 1


def test_every_request_gives_a_line_with_its_other_fields_kept(tiny: Reranker) -> None:
    instruction = "Given a question about music, find the band"
    given = (
        request(id=1)
        + "\n"
        + request(id=2, instruction=instruction, top_k=1)
        + request(id=3, documents=[])
        + request(id=4, documents=[{"text": DOCUMENTS[1]}], gold=[0])
    )
    done = run(given=given)
    assert done.returncode == 0, done.stderr
    one, two, three, four = lines(done.stdout)
    assert one == {"query": QUERY, "id": 1, "results": expected(tiny)}
    assert two["results"] == expected(tiny, instruction=instruction, top_k=1)
    assert two["instruction"] == instruction
    assert three["results"] == []
    assert four["results"][0]["document"] == {"text": DOCUMENTS[1]}
    assert four["gold"] == [0]


def test_top_k_threshold_instruction_and_no_documents_hold_for_every_request(
    tiny: Reranker,
) -> None:
    instruction = "Given a question about music, find the band"
    done = run(
        *("--top-k", "2", "--threshold", "0.001", "-i", instruction, "--no-documents"),
        given=request() * 3,
    )
    ranking = expected(tiny, instruction=instruction, top_k=2, score_threshold=0.001)
    for one in ranking:
        del one["document"]
    assert [one["results"] for one in lines(done.stdout)] == [ranking] * 3


def test_documents_behind_max_candidates_follow_without_a_score(tiny: Reranker) -> None:
    found = lines(run(QUERY, *DOCUMENTS, "--max-candidates", "1").stdout)
    (first, *others) = expected(tiny, max_candidates=1)
    assert found == [first, *({**row, "score": None, "scored": False} for row in others)]
    assert "not scored" in run(QUERY, *DOCUMENTS, "--max-candidates", "1", "--table").stdout


def test_what_there_was_no_time_for_follows_too(tiny: Reranker) -> None:
    documents = [f"Note {number} on mercury." for number in range(6)]
    given = json.dumps({"query": QUERY, "documents": documents}) + "\n"
    done = run("--time-budget", "1e-9", given=given * 2)
    for found in lines(done.stdout):
        assert [row.get("scored", True) for row in found["results"]] == [True] * 4 + [False] * 2


def test_the_retriever_decides_too(tiny: Reranker) -> None:
    scores = [3.0, None, 9.5]
    options = {"fusion": 0.7, "mmr": 0.9, "retriever_scores": scores}
    ranking = [
        {**row, "fused_score": pytest.approx(one.fused_score, abs=1e-4)}
        for row, one in zip(
            expected(tiny, **options), tiny.rerank(QUERY, DOCUMENTS, **options), strict=True
        )
    ]
    flags = ("--fusion", "0.7", "--mmr", "0.9")
    given = request(retriever_scores=scores) + request(retriever_scores=[1.0])
    done = run(*flags, "--keep-going", given=given)
    assert [one["results"] for one in lines(done.stdout)] == [ranking]
    assert "line 2: got 1 retriever_scores for 3 documents" in done.stderr

    rows = [f"{text},{'' if one is None else one}" for text, one in zip("abc", scores, strict=True)]
    table = "text,bm25\n" + "\n".join(rows)
    by_key = lines(
        run(
            *("-q", QUERY, "-f", "-", "--format", "csv", "--fusion", "1"),
            *("--retriever-score-key", "bm25"),
            given=table,
        ).stdout
    )
    assert [row["index"] for row in by_key] == [2, 0, 1]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--fusion", "sum"), "neither rrf nor a number"),
        (("--fusion", "2"), "neither rrf nor a number"),
        (("--retriever-score-key", "bm25"), "no effect without --fusion"),
    ],
)
def test_what_is_no_fusion_is_said(flags: tuple[str, ...], said: str) -> None:
    done = run(*flags, QUERY, "a document")
    assert done.returncode == 2
    assert said in done.stderr


def test_a_document_longer_than_the_model_reads_is_marked() -> None:
    done = run(QUERY, "short", "word " * 20_000, "--no-documents")
    assert {one["index"]: one.get("truncated") for one in lines(done.stdout)} == {0: None, 1: True}


BAD_LINES = [
    ("{", "not JSON"),
    ('{"query": "a", "documents": ["b"], "weight": NaN}', "NaN"),
    ('["a"]', "expected an object"),
    ('{"text": "a"}', "no query and no documents (there are: text)"),
    ('{"query": " ", "documents": []}', "query is blank"),
    ('{"query": "a", "documents": "b"}', "expected a list"),
    ('{"query": "a", "documents": ["b", 7]}', "document 1: expected a string"),
    ('{"query": "a", "documents": [{"body": "b"}]}', "no field document or text or content"),
    (r'{"query": "a", "documents": ["\ud800"]}', "surrogate"),
    ('{"query": "a", "documents": [], "top_k": 0}', "top_k is 0"),
    ('{"query": "' + "word " * 9_000 + '", "documents": ["b"]}', "tokens"),
    ("[" * 100_000, "nested too deeply"),
]


def test_every_bad_line_is_named_with_what_is_wrong() -> None:
    done = run("--keep-going", given="".join(f"{line}\n" for line, _ in BAD_LINES) + request())
    assert done.returncode == 1
    assert len(lines(done.stdout)) == 1
    said = [line for line in done.stderr.splitlines() if line.startswith("left out:")]
    for number, ((_, reason), sentence) in enumerate(zip(BAD_LINES, said, strict=True), 1):
        assert f"standard input, line {number}: " in sentence
        assert reason in sentence


def test_a_bad_line_ends_it_after_the_lines_before_it() -> None:
    done = run(given=request(id=1) + "\n{\n" + request(id=2))
    assert done.returncode == 2
    assert [one["id"] for one in lines(done.stdout)] == [1]
    assert "standard input, line 3: not JSON" in " ".join(done.stderr.split())


def test_keep_going_leaves_bad_lines_out_and_exits_with_1(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(request(id=1).encode() + b"\xff\xfe\n{\n" + request(id=2).encode())
    done = run("-f", str(path), "--keep-going", "--out", str(tmp_path / "out.jsonl"))
    assert done.returncode == 1
    assert "line 2: not UTF-8" in done.stderr
    assert "line 3: not JSON" in done.stderr
    assert [one["id"] for one in lines((tmp_path / "out.jsonl").read_text("utf-8"))] == [1, 2]
    assert done.stdout == ""


def test_bad_documents_of_a_file_are_named(tmp_path: Path) -> None:
    for name, content, reason in (
        ("a.txt", b"fine\n\xff\n", "a.txt, line 2: not UTF-8"),
        ("b.jsonl", b'"fine"\n\n7\n', "b.jsonl, line 3: expected a string or an object"),
        ("c.csv", b"id,body\n1,fine\n", "line 1: no column document or text or content"),
        ("d.csv", b"id,text\n1,fine\n2\n", "d.csv, line 3: 1 cells, expected 2"),
    ):
        (tmp_path / name).write_bytes(content)
        done = run(QUERY, "-f", name, cwd=tmp_path)
        assert done.returncode == 2
        assert reason in " ".join(done.stderr.split())
        assert done.stdout == ""


def test_a_file_named_by_out_appears_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run("--out", str(out), given=request(id=1)).returncode == 0
    before = out.read_bytes()
    assert [one["id"] for one in lines(before.decode())] == [1]
    assert run("--out", str(out), given=request(id=2) + "{\n").returncode == 2
    assert out.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    done = run("--out", str(tmp_path), given=request())
    assert done.returncode == 2
    assert "is not a file" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([" ", "a document"], "blank"),
        (["query", "-f", "absent.txt"], "absent.txt: No such file"),
        (["query", "a", "--threshold", "1.5"], "threshold"),
        (["query", "a", "--top-k", "0"], "top-k"),
        (["query", "a", "--format", "xml"], "xml"),
        (["query", "a", "--dtype", "int3"], "dtype"),
        (["-f", "some.txt"], "holds documents, not requests"),
        (["query", "a", "--base-url", "ftp://somewhere", "--api-key", SECRET], "base_url"),
    ],
)
def test_wrong_options_exit_with_2_and_say_why(arguments: list[str], reason: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert reason in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert done.stdout == ""


def test_a_server_that_is_not_there_exits_with_2() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        done = run("query", "a", "--base-url", url, "--api-key", SECRET, "--dialect", "tei")
    assert done.returncode == 2, done.stderr
    assert SECRET not in done.stdout + done.stderr


def start(*arguments: str, **streams: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, *TINY, *arguments],
        env=ENVIRONMENT,
        # Whoever runs the tests in the background lets them ignore Ctrl-C, and their children too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **streams,
    )


def test_an_answer_comes_before_the_next_request_is_written() -> None:
    """A program may write one line and wait for its answer."""
    with start(stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(3):
            process.stdin.write(request(id=number).encode())
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["id"] == number
        process.stdin.close()
        assert process.wait(120) == 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
def test_stopped_it_leaves_whole_lines_and_no_file(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    path = tmp_path / "requests.jsonl"
    # A line is longer than a pipe holds: it is stopped in the middle of one.
    padding = "x" * 200_000
    path.write_text("".join(request(id=i, padding=padding) for i in range(200)), "utf-8")
    with start("-f", str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = os.read(process.stdout.fileno(), 1000)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=120)
        assert process.returncode == code
        written = lines((first + rest).decode())
        assert [one["id"] for one in written] == list(range(len(written)))
        assert 1 <= len(written) < 200
        assert b"Traceback" not in errors
    out = tmp_path / "out.jsonl"
    with start("--out", str(out), stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(request().encode())
        process.stdin.flush()
        while not any(one.stat().st_size for one in tmp_path.glob(".out.jsonl.*")):
            assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=120)
        assert process.returncode == code
    assert [one.name for one in tmp_path.iterdir()] == ["requests.jsonl"]


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(request(padding="x" * 200_000) for _ in range(200)), "utf-8")
    with start("-f", str(path), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "results" in json.loads(process.stdout.readline())
        process.stdout.close()
        assert process.wait(120) == 141
        errors = process.stderr.read().decode()
    assert "Broken" not in errors
    assert "Traceback" not in errors


def in_terminal(*arguments: str) -> str:
    """Return what the command prints to a terminal."""
    ours, its = pty.openpty()
    shown = b""
    with start(*arguments, stdin=its, stdout=its, stderr=subprocess.DEVNULL) as process:
        os.close(its)
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:  # how Linux says that the other side is closed
            pass
        assert process.wait(120) in (0, 2)
    os.close(ours)
    return shown.decode()


def test_people_get_a_table_that_no_document_can_draw_on() -> None:
    shown = in_terminal(QUERY, *DOCUMENTS, "\x1b[2J[red]wiped[/] \u202eout")
    for part in ("score", "moved", "−39 °C", "[red]wiped[/]", "\ufffd[2J"):
        assert part in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert "score" in run(QUERY, *DOCUMENTS, "--table").stdout
    assert json.loads(in_terminal(QUERY, *DOCUMENTS, "--json").splitlines()[0])["index"] == 1


def test_help_teaches_by_examples_and_names_the_exit_codes() -> None:
    shown = run("--help").stdout
    assert 'qwen3-rerank rank "how hot is the sun" --file passages.txt --top-k 3' in shown
    assert '{"query": "…", "documents": ["…", {"image": "a.png"}]' in shown
    assert "130, 143: stopped by Ctrl-C or SIGTERM" in " ".join(shown.split())
