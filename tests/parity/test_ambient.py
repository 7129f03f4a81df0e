"""A caller's own settings of torch change no bit of a score, and are left as they were."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from shared_core import Reranker

QUERY = "Which planet is known as the Red Planet?"
DOCUMENTS = ["Mars is red.", "Venus is hot and bright.", "planet " * 400, "Tea " * 1600]


@contextmanager
def setting(get: Callable[[], Any], set_: Callable[[Any], Any], value: Any) -> Iterator[None]:
    """Set something, and fail unless it is still set at the end."""
    before = get()
    set_(value)
    try:
        yield
        assert get() == value
    finally:
        set_(before)


def deterministic(*, fills: bool) -> AbstractContextManager[None]:
    torch.utils.deterministic.fill_uninitialized_memory = fills
    return setting(
        torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True
    )


def precision(value: str) -> AbstractContextManager[None]:
    get, set_ = torch.get_float32_matmul_precision, torch.set_float32_matmul_precision
    return setting(get, set_, value)


@contextmanager
def default_device(device: str) -> Iterator[None]:
    torch.set_default_device(device)
    try:
        yield
        assert torch.tensor([]).device.type == device
    finally:
        torch.set_default_device(None)


def fp32_precision(value: str) -> AbstractContextManager[None]:
    if not hasattr(torch.backends, "fp32_precision"):
        return nullcontext()

    def set_(value: str) -> None:
        torch.backends.fp32_precision = value

    return setting(lambda: torch.backends.fp32_precision, set_, value)


def flushes() -> bool:
    """Return whether numbers below the least normal one are taken for 0 in this thread."""
    return sys.float_info.min / 2 == 0.0


class Function(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (
            func(*args, **(kwargs or {})) * 1.5
            if "matmul" in str(func)
            else func(*args, **(kwargs or {}))
        )


class Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        return out * 1.5 if "mm" in str(func) else out


AMBIENT: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "default dtype": lambda: setting(
        torch.get_default_dtype, torch.set_default_dtype, torch.float64
    ),
    "half default dtype": lambda: setting(
        torch.get_default_dtype, torch.set_default_dtype, torch.bfloat16
    ),
    "default device": lambda: default_device("meta"),
    "device context": lambda: torch.device("meta"),
    "grad": lambda: torch.enable_grad(),
    "no grad": lambda: torch.no_grad(),
    "inference": lambda: torch.inference_mode(),
    "deterministic": lambda: deterministic(fills=True),
    "precision medium": lambda: precision("medium"),
    "precision high": lambda: precision("high"),
    "fp32 precision": lambda: fp32_precision("bf16"),
    "no oneDNN": lambda: torch.backends.mkldnn.flags(enabled=False),
    "kernels": lambda: sdpa_kernel(SDPBackend.MATH),
    "denormals": lambda: setting(flushes, torch.set_flush_denormal, True),
    "function mode": Function,
    "dispatch mode": Dispatch,
}


@pytest.fixture(scope="module", params=[None, "int8"], ids=["float32", "int8"])
def usual(request: pytest.FixtureRequest, checkpoint: Path) -> Iterator[tuple[Any, Any, Any]]:
    """A quantisation, a reranker that was loaded without anything set, and its scores."""
    with made(checkpoint, request.param) as reranker:
        yield request.param, reranker, reranker.rerank(QUERY, DOCUMENTS)


def made(checkpoint: Path, quantize: Any) -> Reranker:
    return Reranker(str(checkpoint), device="cpu", dtype="float32", quantize=quantize)


@pytest.mark.parametrize("name", AMBIENT)
def test_a_call_and_a_load_under_it_give_the_same_bits(
    name: str, usual: tuple[Any, Reranker, Any], checkpoint: Path
) -> None:
    quantize, reranker, expected = usual
    with AMBIENT[name]():
        assert reranker.rerank(QUERY, DOCUMENTS) == expected
        with made(checkpoint, quantize) as other:
            assert other.rerank(QUERY, DOCUMENTS) == expected
    assert reranker.rerank(QUERY, DOCUMENTS) == expected


def test_a_function_that_is_transformed_may_score(usual: tuple[Any, Reranker, Any]) -> None:
    _, reranker, expected = usual
    found = []

    def loss(x: torch.Tensor) -> torch.Tensor:
        found.append(reranker.rerank(QUERY, DOCUMENTS))
        return (x * x).sum()

    assert torch.equal(torch.func.grad(loss)(torch.ones(2)), torch.tensor([2.0, 2.0]))
    assert found == [expected]


@pytest.mark.parametrize("seconds", [0.0, 0.002, 0.01, 0.03])
def test_another_thread_that_sets_precision_meanwhile_changes_no_score(
    usual: tuple[Any, Reranker, Any], seconds: float
) -> None:
    """What was computed with it is computed again; and it stays as that thread has set it."""
    _, reranker, expected = usual
    timer = threading.Timer(seconds, torch.set_float32_matmul_precision, ["medium"])
    timer.start()
    try:
        found = reranker.rerank(QUERY, DOCUMENTS)
        timer.join()
        assert found == expected
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        timer.join()
        torch.set_float32_matmul_precision("highest")


def test_settings_that_nobody_made_stay_unmade(usual: tuple[Any, Reranker, Any]) -> None:
    """What a backend takes over from an outer setting is still taken over afterwards."""
    read = getattr(torch._C, "_get_fp32_precision_getter", None)
    if read is None:
        pytest.skip("this torch has one precision for all: nothing is taken over")
    before = torch.backends.fp32_precision
    torch._C._set_fp32_precision_setter("mkldnn", "matmul", "none")
    try:
        torch.backends.fp32_precision = "bf16"
        usual[1].rerank(QUERY, DOCUMENTS)
        assert read("mkldnn", "matmul") == "bf16"
        torch.backends.fp32_precision = "ieee"
        assert read("mkldnn", "matmul") == "ieee"
    finally:
        torch.backends.fp32_precision = before
        torch.set_float32_matmul_precision("highest")
