"""Choice of the dialect: the named one, the vendor's, or the server's most exact one."""

from __future__ import annotations

from urllib.parse import urlsplit

from shared_core.errors import ConfigurationError
from shared_core.options import RerankerOptions
from shared_core.options.neighbours import did_you_mean
from shared_core.options.remote import TemplateOption
from shared_core.scorers.remote.contents import names_a_seeing_model
from shared_core.scorers.remote.dialects import DIALECTS, servers, sglang, vendor_at, vllm
from shared_core.scorers.remote.dialects.base import Dialect, trait
from shared_core.scorers.remote.discovery import OWN_SERVICE, Facts

_FAMILIES = ("vllm", "sglang")  # names that stand for whichever of a server's routes is best


def named_dialect(options: RerankerOptions) -> type[Dialect] | Dialect | None:
    """Return the dialect named by the options or their host, without asking a server.

    Raises:
        ConfigurationError: There is no dialect of that name.
    """
    if not isinstance(options.dialect, str):
        return options.dialect  # type: ignore[no-any-return]  # checked to have build and parse
    if options.dialect in ("auto", *_FAMILIES):
        host = urlsplit(options.base_url or "").hostname
        return vendor_at(host) if options.dialect == "auto" else None
    found = DIALECTS.get(options.dialect)
    if found is None:
        names = ["auto", *_FAMILIES, *DIALECTS]
        near = did_you_mean(options.dialect, names)
        raise ConfigurationError(
            f"there is no dialect {options.dialect!r}.{near} Expected one of {', '.join(names)}"
        )
    return found


def is_known(
    named: type[Dialect] | Dialect | None, base_url: str, template: TemplateOption
) -> bool:
    """Return whether the server need not be asked about itself."""
    if named is None:
        return False
    has_own_host = getattr(named, "base_url", None) is not None
    if not isinstance(named, type) or has_own_host or vendor_at(urlsplit(base_url).hostname):
        return True
    has_template = template != "auto" or getattr(named, "documented", None) is not None
    return has_template and not getattr(named, "asks", False)


def choose_dialect(
    options: RerankerOptions,
    named: type[Dialect] | Dialect | None,
    facts: Facts,
    base_url: str,
) -> Dialect:
    """Return the dialect to use, with the limits that the server states.

    Raises:
        ConfigurationError: None is named, and the server is not known or cannot score.
        ServerStatusError: The server would not tell without a key.
    """
    if named is None:
        named = _best_dialect(options, facts, base_url)
    if not isinstance(named, type):
        return named
    dialect: Dialect
    if issubclass(named, vllm.Pooling):
        # Older ones ignore the field, and their probabilities would be taken for logits.
        dialect = named(raw=facts.server == "vllm" and facts.is_at_least(0, 13))
    elif issubclass(named, servers.Tei):
        dialect = named(raw=facts.server in ("tei", OWN_SERVICE))
    else:
        dialect = named()
    if facts.max_documents is not None:
        dialect.max_documents = min(trait(dialect, "max_documents"), facts.max_documents)
    return dialect


def _best_dialect(options: RerankerOptions, facts: Facts, base_url: str) -> type[Dialect]:
    """Return the most exact dialect of a server that stated its software."""
    family = facts.server if options.dialect == "auto" else options.dialect
    if family == "vllm":
        sees = names_a_seeing_model([options.model, *facts.roots])
        return _best_vllm_route(facts, base_url, sees=sees)
    found = {"sglang": sglang.SglangScore, OWN_SERVICE: servers.Plain}.get(family or "")
    found = found or DIALECTS.get(family or "")
    if found is None and facts.refusal is not None:
        raise facts.refusal
    if found is None:
        raise ConfigurationError(
            f"cannot tell what kind of server {base_url} is: give dialect=, one of "
            f"{', '.join([*_FAMILIES, *DIALECTS])}. "
            "`qwen3-rerank check --base-url …` shows what it answers"
        )
    return found


def _best_vllm_route(facts: Facts, base_url: str, *, sees: bool) -> type[Dialect]:
    if sees:  # no other route takes images, nor writes the prompt of such a model
        if "/v1/rerank" in facts.routes:
            return vllm.VllmRerank
        raise ConfigurationError(
            f"{base_url} serves a model that sees, and not as a reranker: start it with --runner "
            "pooling, the overrides and the template of docs/images.md"
        )
    if "/classify" in facts.routes:
        return vllm.VllmClassify
    if "/v1/rerank" in facts.routes:
        return vllm.VllmRerank
    if "/v1/completions" in facts.routes and facts.is_at_least(0, 26):
        return vllm.VllmCompletions
    if "/generative_scoring" in facts.routes:
        return vllm.VllmGenerative
    raise ConfigurationError(
        f"{base_url} is vLLM {facts.version or 'of unknown version'}, but with none of the routes "
        "that can score. Start it with --runner pooling and the overrides of docs/servers.md; a "
        "generating server needs 0.20 or later"
    )


def check_model(options: RerankerOptions, facts: Facts) -> None:
    """Raise if a server that lists its models does not list this one."""
    serves_by_name = facts.server in ("vllm", "infinity", "xinference", "ollama", "litellm")
    if serves_by_name and facts.models and options.model not in facts.models:
        raise ConfigurationError(
            f"the server does not serve {options.model!r}: give model=, one of "
            f"{', '.join(map(repr, facts.models[:10]))}"
        )
