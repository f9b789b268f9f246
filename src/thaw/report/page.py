"""Pages of HTML that need nothing else: the styles that all share, and how one is written."""

import re
from importlib import resources
from pathlib import Path
from typing import Any

from thaw.errors import ThawError
from thaw.report import formats


def render(template: str, **parts: Any) -> str:
    """Return a page from one of the templates beside this file.

    Raises:
        ThawError: when the optional packages for reports are not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise ThawError("an HTML report needs jinja2: pip install 'thaw[report]'") from None
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "count": formats.count,
        "percent": formats.percent,
        "rate": lambda share: formats.fixed(100 * share, 2),
        "typeset": typeset,
    }
    return environment.from_string(_read(template)).render(style=_read("style.css"), **parts)


def write_page(page: str, path: str | Path) -> None:
    """Write a page; its folder is made where it is missing, and no file is ever half written."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.partial")
    aside.write_text(page, encoding="utf-8")
    aside.rename(target)


def typeset(text: str) -> str:
    """A text with true minus signs, and with 'p = 0.012' and '40 %' kept on one line."""
    text = re.sub(r"(?<![\w-])-(?=\d)", "\N{MINUS SIGN}", text)
    return re.sub(r"(?<=\bp) ([=<]) | (?=%)", _unbreakable, text)


def _unbreakable(found: re.Match[str]) -> str:
    return found[0].replace(" ", "\N{NO-BREAK SPACE}")


def _read(name: str) -> str:
    return resources.files("thaw.report").joinpath(name).read_text(encoding="utf-8")
