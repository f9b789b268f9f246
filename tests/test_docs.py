"""The documentation's examples run: Python blocks, schemas in YAML, and command lines."""

import re
import shlex
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import NamedTuple

import pydantic
import pytest
import typer.main
import yaml

import thaw
import thaw.checkpoint

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^```$|^<!-- setup\n(?P<setup>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


# The README shows its example without the tables that it is about.
README_TABLES = """
import pandas as pd
from thaw.datasets import World, simulate

made = simulate(World(users=60, items=40, impressions_per_user=10), "made")
users = pd.read_parquet(made / "users-00000.parquet")
items = pd.read_parquet(made / "items.parquet")
log = pd.read_parquet(made / "impressions-00000.parquet")
"""


class Block(NamedTuple):
    """A fenced block, or a hidden set-up, with the line that its code starts on."""

    language: str
    code: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text()
    for found in BLOCK.finditer(text):
        language, code = found["language"] or "python", found["code"] or found["setup"] or ""
        yield Block(language, code, text.count("\n", 0, found.start()) + 1)


def pages_with(*languages: str) -> list[Path]:
    return [page for page in PAGES if any(each.language in languages for each in blocks(page))]


def each_page(*languages: str) -> pytest.MarkDecorator:
    pages = pages_with(*languages)
    return pytest.mark.parametrize("page", pages, ids=[page.stem for page in pages])


def commands() -> list[object]:
    """Every 'thaw ...' line of the pages, lines that go on joined."""
    found = []
    for page in pages_with("bash", "console", "sh"):
        for block in blocks(page):
            if block.language in ("bash", "console", "sh"):
                lines = block.code.replace("\\\n", " ").splitlines()
                calls = [line.removeprefix("$ ").split("  #")[0].strip() for line in lines]
                calls = [call for call in calls if re.match(r"thaw\b", call)]
                found += [pytest.param(call, id=f"{page.stem}: {call}") for call in calls]
    return found


@each_page("python")
def test_python_blocks_run_page_by_page(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Training without options is the paper's; one epoch of it is enough here.
    once = partialmethod(thaw.Training.__init__, max_epochs=1)
    monkeypatch.setattr(thaw.Training, "__init__", once)
    # No run here has to survive a power cut, and waiting for the disk is most of the time.
    monkeypatch.setattr(thaw.checkpoint, "sync", lambda path: None)
    namespace: dict[str, object] = {"__name__": page.stem}
    if page.stem == "README":
        exec(README_TABLES, namespace)
    for block in blocks(page):
        if block.language == "python":
            # Blank lines in front make a traceback name the page's own line.
            exec(compile("\n" * block.line + block.code, str(page), "exec"), namespace)


@each_page("yaml")
def test_schemas_in_yaml_have_no_faults(page: Path) -> None:
    for block in blocks(page):
        if block.language == "yaml":
            declared = yaml.safe_load(block.code)
            if isinstance(declared, dict) and "impressions" in declared:
                thaw.Schema.model_validate(declared)
            elif isinstance(declared, dict):
                for name in declared.keys() & thaw.Schema.model_fields.keys():
                    kind = thaw.Schema.model_fields[name].annotation
                    pydantic.TypeAdapter(kind).validate_python(declared[name])


@pytest.mark.parametrize("call", commands())
def test_command_lines_parse(call: str) -> None:
    from thaw.cli import app

    _, name, *arguments = shlex.split(call)
    group = typer.main.get_command(app)
    if name.startswith("-"):
        assert name in ("--help", "--version")
        return
    command = group.commands[name]
    if hasattr(command, "commands"):
        name, *arguments = arguments
        command = command.commands[name]
    if "--help" not in arguments:
        command.make_context(name, arguments)


def test_every_page_is_in_the_navigation() -> None:
    listed = re.findall(r"([\w-]+\.md)", (ROOT / "mkdocs.yml").read_text())
    assert sorted(listed) == sorted(page.name for page in PAGES if page.parent.name == "docs")
