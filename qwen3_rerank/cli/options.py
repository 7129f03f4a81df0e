"""Flags of the commands, made from the declarations of the options.

A command that has a parameter ``options`` gets the flags of some groups in its place, and what was
given of them as a dictionary. What was not given is not in it, and has its default where it acts.
`with_ranking` does the same for ``ranking``.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Collection, Sequence
from functools import wraps
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from annotated_types import Ge, Le
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from shared_core.options import About, Group, RankingOptions, about_options

MODEL_GROUPS: tuple[Group, ...] = ("Model", "Computing")
SERVER_GROUPS: tuple[Group, ...] = ("Server", "Retries and limits")
ALL_GROUPS: tuple[Group, ...] = (*MODEL_GROUPS, "Long documents", *SERVER_GROUPS)

Options = dict[str, Any]


def with_options(
    model: type[BaseModel],
    groups: Sequence[Group],
    *,
    without: Collection[str] = (),
    only: Collection[str] = (),
    into: str = "options",
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that puts flags where a command has the parameter ``into``.

    Args:
        without: Options to leave out. Those that the command has a parameter for are left to it.
        only: The options to take; empty takes all.
        into: The name of the parameter.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        own = inspect.signature(command, eval_str=True).parameters
        declared = about_options(model)
        names = [
            name
            for group in groups
            for name, about in declared.items()
            if about.group == group
            and name not in own
            and name not in without
            and (name in only or not only)
        ]
        flags = [_flag(name, model) for name in names]
        shown: list[inspect.Parameter] = []
        for name, parameter in own.items():
            shown += (
                flags if name == into else [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            )

        @wraps(command)
        def run(**arguments: Any) -> None:
            options = {
                name: _value(model.model_fields[name], value)
                for name in names
                if (value := arguments.pop(name)) not in (None, [])
            }
            command(**arguments, **{into: options})

        # Typer asks for both.
        run.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]  # see PEP 362
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
        return run

    return decorate


def with_ranking(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that puts flags of ranked lists where a command has ``ranking``."""
    return with_options(RankingOptions, ("Ranking",), only=names, into="ranking")


def _flag(name: str, model: type[BaseModel]) -> inspect.Parameter:
    """Return the parameter of one option, of which ``None`` means that it was not given."""
    field, about = model.model_fields[name], about_options(model)[name]
    kind, metavar = _kind(field)
    spelling = f"--{(about.flag or name).replace('_', '-')}"
    declared = typer.Option(
        spelling,
        help=f"{field.description}{_default(field, about)}",
        metavar=metavar,
        **_bounds(field),
        show_default=False,
        rich_help_panel=about.group,
    )
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[Union[kind, None], declared],  # noqa: UP007  # made at run time
    )


def _bounds(field: FieldInfo) -> dict[str, Any]:
    """Return the least and the largest number that a field takes, as Typer calls them."""
    names = {Ge: "min", Le: "max"}
    return {
        names[type(bound)]: getattr(bound, type(bound).__name__.lower())
        for bound in field.metadata
        if type(bound) in names
    }


def _kind(field: FieldInfo) -> tuple[Any, str | None]:
    """Return the type of a flag for a field, and its name in the help."""
    for part in _parts(field.annotation):
        if get_origin(part) is Literal:
            return str, "|".join(map(str, get_args(part)))
        if get_origin(part) is dict:
            return (list[str], "'NAME: VALUE'") if SecretStr in get_args(part) else (str, "JSON")
        if get_origin(part) in (list, tuple):
            return list[str], None
        if part in (bool, int, float):
            return part, None
    return str, None


def _parts(annotation: Any) -> Sequence[Any]:
    """Return the members of a union, or the type itself."""
    is_union = get_origin(annotation) in (Union, types.UnionType)
    return (
        [part for part in get_args(annotation) if part is not type(None)]
        if is_union
        else [annotation]
    )


def _default(field: FieldInfo, about: About) -> str:
    """Return the help's text about the default, if any."""
    if about.is_secret or field.default_factory is not None or field.default in (None, False, ()):
        return ""
    return f" (default: {field.default})"


def _value(field: FieldInfo, value: Any) -> Any:
    """Return the value of a flag in the form that the option takes.

    Raises:
        typer.BadParameter: A header or a JSON object is malformed.
    """
    for part in _parts(field.annotation):
        if get_origin(part) is dict:
            return headers_of(value) if SecretStr in get_args(part) else _json_object(value)
        if get_origin(part) is tuple and SecretStr not in get_args(part):
            return [item.strip() for text in value for item in text.split(",") if item.strip()]
    return value


def headers_of(headers: Sequence[str]) -> dict[str, str]:
    """Return headers given as "Name: value"."""
    found = {}
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon:
            raise typer.BadParameter("expected 'Name: value'", param_hint="--header")
        found[name.strip()] = value.strip()
    return found


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise typer.BadParameter("expected a JSON object", param_hint="--engine-args")
    return value
