"""MkDocs hooks: reference pages written from the code when the site is built.

A page asks for one with a marker of its own line: `<!-- generated: NAME -->`, with a NAME of
GENERATED.
"""

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

import annotated_types
import griffe
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import thaw
from thaw import schema

PARTS = (
    schema.Schema, schema.Users, schema.Items, schema.Impressions, schema.Events, schema.Field,
    schema.Task, schema.CsvOptions, schema.TimeSplit, schema.LastSplit, schema.ColumnSplit,
    schema.PaperRule, schema.StrictRule, schema.NaturalRule, schema.ColumnRule,
)  # fmt: skip
"""The models in the order of the page; Table is the part that four of them have in common."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Return a page's text with its markers replaced."""
    for name, write in GENERATED.items():
        marker = f"<!-- generated: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, write())
    return markdown


class Shapes(griffe.Extension):
    """Keeps two shapes side by side, such as '[z] [B, d]', from being read as a link."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Escape the second bracket."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"\](\s)\[", r"]\1\\[", obj.docstring.value)


def schema_reference() -> str:
    """Return the reference of every model of the schema."""
    models = {
        each
        for each in vars(schema).values()
        if inspect.isclass(each) and issubclass(each, schema.Declaration)
    }
    left_out = models - {*PARTS, schema.Declaration, schema.Table}
    if left_out:
        raise RuntimeError(f"docs/hooks.py: PARTS lacks {sorted(m.__name__ for m in left_out)}")
    return "\n".join(line for model in PARTS for line in _model(model))


def _model(model: type[BaseModel]) -> Iterator[str]:
    about = (inspect.getdoc(model) or "").split("\n\nRaises:")[0]
    yield f"## {model.__name__}\n\n{about}\n"
    yield "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    for name, field in model.model_fields.items():
        meaning = field.description or _meaning(field)
        yield f"| `{name}` | {_type(field.annotation, field)} | {_default(field)} | {meaning} |"
    yield ""


def _meaning(field: FieldInfo) -> str:
    """What a key without a description of its own is, from its type."""
    found = _models(field.annotation)
    if found:
        return " ".join((inspect.getdoc(each) or "").split("\n")[0] for each in found)
    return "The rule's name." if typing.get_origin(field.annotation) is typing.Literal else ""


def _models(annotation: Any) -> list[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation] if annotation in PARTS else []
    return []


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    """A type as a person writes it, models linked."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in PARTS:
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if origin is typing.Annotated:
        return _type(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        named = [_type(each) for each in arguments if each is not type(None)]
        return " or ".join(dict.fromkeys(named))
    if origin is tuple:
        return f"list of {_type(arguments[0])}"
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false"}
    return plain.get(annotation, str(annotation)) + _limits(field)


def _limits(field: FieldInfo | None) -> str:
    """The bounds of a number."""
    signs = {annotated_types.Gt: "above", annotated_types.Lt: "below", annotated_types.Ge: "from",
             annotated_types.Le: "to"}  # fmt: skip
    attributes = {annotated_types.Gt: "gt", annotated_types.Lt: "lt", annotated_types.Ge: "ge",
                  annotated_types.Le: "le"}  # fmt: skip
    found = [
        f"{signs[type(each)]} {getattr(each, attributes[type(each)]):g}"
        for each in (field.metadata if field else ())
        if type(each) in signs
    ]
    return f" {', '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        given = value.model_dump(exclude_defaults=True)
        return ", ".join(f"`{key}: {each}`" for key, each in given.items()) or "a plain CSV"
    if value is None or value == ():
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def command_line() -> str:
    """Return the reference of every command."""
    import typer.main

    from thaw.cli import app

    group: Any = typer.main.get_command(app)
    return "\n".join(line for command, name in _commands(group) for line in _command(command, name))


def _commands(group: Any, before: str = "") -> Iterator[tuple[Any, str]]:
    """Every command with its name, those of a group in its place."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield command, f"{before}{name}"


def _command(command: Any, name: str) -> Iterator[str]:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    required = [f"{each.opts[0]} {each.name.upper()}" for each in options if each.required]
    usage = ["thaw", name, *(each.name.upper() for each in arguments), *required, "[OPTIONS]"]
    yield f"## thaw {name}\n\n{inspect.cleandoc(command.help or '')}\n"
    yield f"```text\n{' '.join(usage)}\n```\n"
    yield "| argument or option | default | meaning |\n| --- | --- | --- |"
    for each in arguments:
        yield f"| `{each.name.upper()}` | required | {each.help} |"
    for each in options:
        names = ", ".join(f"`{name}`" for name in (*each.opts, *each.secondary_opts))
        yield f"| {names} | {_option_default(each)} | {each.help} |"
    yield ""


def _option_default(option: Any) -> str:
    if option.required:
        return "required"
    if option.default is None or option.default is False:
        return ""
    return f"`{'on' if option.default is True else option.default}`"


def api() -> str:
    """Return a mkdocstrings entry for every public name."""
    return "\n\n".join(f"::: thaw.{name}" for name in thaw.__all__)


GENERATED: dict[str, Callable[[], str]] = {
    "schema": schema_reference,
    "command line": command_line,
    "api": api,
}
