"""The exceptions of this library, as one tree.

::

    RerankError
    ├── ConfigurationError   (ValueError)    options that contradict one another
    │   └── UnsupportedByServerError             the server cannot do what a call asks for
    ├── MissingDependencyError (ImportError) an extra is not installed; names the pip command
    ├── ModelLoadError                       weights or tokenizer could not be read
    │   ├── UnsupportedModelError            they were read and are not a Qwen3 reranker
    │   └── HubUnreachableError (ConnectionError) the hub is needed and cannot be reached now
    ├── QueryTooLongError    (ValueError)    instruction and query leave no room for a document
    ├── TextEncodingError    (ValueError)    a text that no tokenizer can encode (lone surrogate)
    ├── ImageError           (ValueError)    an image that cannot be read, or not by this model
    │   └── ImageUnreachableError (ConnectionError) one whose URL cannot be fetched now
    ├── DeviceMemoryError    (MemoryError)   one single document does not fit in memory
    ├── ScoringError                         a backend failed, or returned no valid score
    ├── RemoteError                          a server could not be used
    │   ├── ServerUnreachableError (ConnectionError) no connection, or no answer in time
    │   ├── ServerStatusError                it answered with an error status
    │   └── InvalidReplyError                it answered 200 with something that is no ranking
    ├── ForkedProcessError   (RuntimeError)  a forked child cannot use what its parent had
    └── ClosedError          (RuntimeError)  the reranker was closed

A caller's mistake in a single argument is a plain ``ValueError`` or ``TypeError``. Errors of other
libraries are translated where they enter, with the original as ``__cause__``.
"""

from __future__ import annotations

from typing import Any


class RerankError(Exception):
    """The base of all errors of this library.

    Attributes:
        is_permanent: Whether the call fails every time until somebody changes its options, its
            texts or the installation. Such an error is raised whatever ``on_error`` says; the
            others may pass, and ``on_error="passthrough"`` passes their documents through.
    """

    is_permanent: bool = False


class ConfigurationError(RerankError, ValueError):
    """Options that contradict one another."""

    is_permanent = True


class UnsupportedByServerError(ConfigurationError):
    """A call asks for what this server cannot do: an instruction, or a document of this length."""


class MissingDependencyError(RerankError, ImportError):
    """An optional dependency is missing; the message is the command that installs it."""

    is_permanent = True

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f'{feature} needs an extra: pip install "qwen3-rerank[{extra}]"')


class ModelLoadError(RerankError):
    """Weights, configuration or tokenizer could not be read."""

    is_permanent = True


class UnsupportedModelError(ModelLoadError):
    """The checkpoint is readable, but scoring with it would be wrong."""


class HubUnreachableError(ModelLoadError, ConnectionError):
    """The hub cannot be reached, and the model is not on this machine."""

    is_permanent = False


class QueryTooLongError(RerankError, ValueError):
    """Instruction and query leave no room for a document within ``max_length``.

    Attributes:
        prompt_tokens: Tokens of the prompt with an empty document.
        max_length: The bound on prompt tokens in force.
        or_more: Whether counting stopped there, because the text is long.
    """

    def __init__(self, prompt_tokens: int, max_length: int, *, or_more: bool = False) -> None:
        count = f"{prompt_tokens} or more" if or_more else str(prompt_tokens)
        super().__init__(
            f"the instruction and query take {count} tokens with the fixed parts of the "
            f"prompt, max_length is {max_length}: no token is left for a document. Shorten the "
            "query or the instruction, or raise max_length."
        )
        self.prompt_tokens = prompt_tokens
        self.max_length = max_length
        self.or_more = or_more

    def __reduce__(self) -> tuple[Any, ...]:
        state = {"or_more": self.or_more, "args": self.args}
        return type(self), (self.prompt_tokens, self.max_length), state


class TextEncodingError(RerankError, ValueError):
    """A text cannot be encoded as UTF-8; the message names the text."""

    is_permanent = True


class ImageError(RerankError, ValueError):
    """An image cannot be read, or the model reads text alone; names the document by its place.

    Attributes:
        content: The query or document of a backend's refusal; ``None`` where its place is known.
        reason: What follows its name in the message then.
    """

    is_permanent = True
    content: object = None
    reason: str = ""

    @classmethod
    def of(cls, content: object, name: str, reason: str) -> ImageError:
        """Return an error about a query or document, whose name may be another for the caller."""
        error = cls(f"{name} {reason}")
        error.content, error.reason = content, reason
        return error


class ImageUnreachableError(ImageError, ConnectionError):
    """The server of an image's URL cannot be reached, or fails, at the moment."""

    is_permanent = False


class DeviceMemoryError(RerankError, MemoryError):
    """The device ran out of memory on a single document, or on the model itself."""


class ScoringError(RerankError):
    """A backend failed while scoring, or returned something that is not a score."""


class RemoteError(RerankError):
    """A server could not be used. The message never holds a key.

    Attributes:
        url: The URL of the request, without credentials.
        status: The HTTP status; ``None`` if there was no complete answer.
        request_id: The server's name for the request, where it gave one.
        wait: Seconds that the server asked to wait before the next request.
        is_loading: Whether the server says that it is loading its model.
    """

    wait: float | None = None
    is_loading: bool = False

    def __init__(
        self,
        message: str,
        *,
        url: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.url = url
        self.status = status
        self.request_id = request_id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.args, self.__dict__


class ServerUnreachableError(RemoteError, ConnectionError):
    """No connection, a connection that broke, or no complete answer in time."""


class ServerStatusError(RemoteError):
    """The server answered with an error status; the message contains the server's text.

    A refused key, an unknown model or address, a redirection and a server that is no reranker are
    permanent (3xx, 401, 403, 404, 405, 407, 410, 501); other statuses may pass.
    """

    @property
    def is_permanent(self) -> bool:  # type: ignore[override]  # depends on the status
        """Whether the status means a wrong address, model or key."""
        status = self.status or 0
        return 300 <= status < 400 or status in (401, 403, 404, 405, 407, 410, 501)


class InvalidReplyError(RemoteError):
    """The server answered 200, but not with one valid score per document."""


class ForkedProcessError(RerankError, RuntimeError):
    """A forked process cannot use its parent's resources; it would hang or crash.

    Args:
        reason: The resource or action of the parent.
    """

    is_permanent = True

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"this process was forked, and cannot score: {reason}. Fork before the first use, or "
            'start processes by "spawn" or "forkserver" (multiprocessing.get_context).'
        )
        self.reason = reason

    def __reduce__(self) -> tuple[type[ForkedProcessError], tuple[str]]:
        return type(self), (self.reason,)


class ClosedError(RerankError, RuntimeError):
    """The reranker was used after `Reranker.close`, or closed while it was used."""

    is_permanent = True
