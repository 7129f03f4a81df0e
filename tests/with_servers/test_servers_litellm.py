"""LiteLLM's proxy before servers that write the prompt, do not, or cannot be trusted with one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.checkpoints import BUNDLED
from support.remote_oracle import Oracle
from support.rerank_server import RerankServer
from support.served_gateways import LiteLLM as Joining
from support.services import Process
from with_servers.conftest import Connect
from with_servers.processes import KEY, litellm, llamacpp
from with_servers.test_servers_llamacpp import NOISE, largest_error

from shared_core import ConfigurationError, Reranker, ServerStatusError

ROUTES = ("hosted_vllm", "infinity", "huggingface", "jina_ai", "cohere")


@pytest.fixture(scope="module")
def proxy(
    started: ExitStack, oracle: Oracle, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Models by route and server: ``hosted_vllm-ours``, ``jina_ai-llamacpp``, …"""
    log = tmp_path_factory.mktemp("service") / "log"
    service = Process(log, "--model", "tiny")
    joining = started.enter_context(RerankServer(Joining(oracle, behind="client")))
    behind = {
        "ours": service.url,
        "llamacpp": started.enter_context(llamacpp(BUNDLED)),
        "headless": started.enter_context(llamacpp(BUNDLED, has_head=False)),
        "joining": joining.url,
    }
    models = {
        f"{route}-{name}": {
            "model": f"{route}/tiny",
            "api_key": "unused",
            "api_base": f"{url}/v1/rerank" if route == "cohere" else url,
        }
        for route in ROUTES
        for name, url in behind.items()
    }
    service.wait_until_ready()
    try:
        yield started.enter_context(litellm(models))
    finally:
        service.kill()


@pytest.mark.parametrize("route", ROUTES)
def test_scores_through_it_are_those_of_a_server_that_writes_the_prompt(
    route: str, proxy: str, connect: Connect, tiny: Reranker
) -> None:
    """Whatever count the route passes on, makes up, or leaves out."""
    for server in ("llamacpp", "ours"):
        remote = connect(proxy, f"{route}-{server}", api_key=KEY)
        assert largest_error(remote, tiny) < NOISE, server
        if route == "hosted_vllm" and server == "ours":
            assert largest_error(remote, tiny, "Find what is wrong") < NOISE
        else:
            with pytest.raises(ConfigurationError, match="takes no instruction"):
                remote.score("q", ["a"], instruction="Find what is wrong")


@pytest.mark.parametrize("route", ["hosted_vllm", "jina_ai"])
def test_for_a_server_that_joins_texts_the_prompt_is_written_here(
    route: str, proxy: str, connect: Connect, tiny: Reranker
) -> None:
    """The first route reports 0 tokens here, the second none."""
    remote = connect(proxy, f"{route}-joining", api_key=KEY)
    assert largest_error(remote, tiny) < 1e-4
    assert largest_error(remote, tiny, "Find what is wrong") < 1e-4


@pytest.mark.parametrize("route", ["hosted_vllm", "huggingface", "jina_ai"])
def test_a_file_without_its_head_is_refused_behind_it(
    route: str, proxy: str, connect: Connect
) -> None:
    remote = connect(proxy, f"{route}-headless", api_key=KEY)
    with pytest.raises(ConfigurationError, match="lacks its head"):
        remote.score("capital of France", ["Paris", "a violin"])


def test_check_finds_a_prompt_that_is_written_twice(proxy: str, connect: Connect) -> None:
    """Given by hand, no state is tried at run time; the order of known pairs stays right."""
    report = connect(proxy, "jina_ai-llamacpp", api_key=KEY, template="client").check()
    assert (report.exit_code, report["order"].status) == (1, "ok")
    assert "there are two" in report["comparison"].detail
    assert "server" in report["comparison"].fix


def test_it_says_what_it_is_to_those_with_its_key(proxy: str, connect: Connect) -> None:
    report = connect(proxy, "hosted_vllm-ours", api_key=KEY).check()
    assert report.exit_code == 0, report
    assert report["server"].detail.startswith("litellm 1.")
    with pytest.raises(ConfigurationError, match=r"does not serve 'other': .*'hosted_vllm-ours'"):
        connect(proxy, "other", api_key=KEY).score("q", ["a"])
    # Without a database, it says no more about a wrong key.
    with pytest.raises(ServerStatusError, match="400: No connected db"):
        connect(proxy, "hosted_vllm-ours", api_key="sk-another").score("q", ["a"])
