"""Parts of drawings: text stays text, and colors are the page's own, light or dark."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 360  # a panel fits a phone, so that text keeps its size there
LEFT, RIGHT = 48, 12  # beside what lines are drawn in


@dataclass(frozen=True)
class Panel:
    """One small figure.

    Attributes:
        title: what it shows.
        svg: the drawing, safe to stand in a page.
    """

    title: str
    svg: str


@dataclass(frozen=True)
class Scale:
    """From values to places along an axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def ticks(low: float, high: float, count: int) -> list[float]:
    """About so many round numbers between two."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def decimals(numbers: Sequence[float]) -> int:
    """The decimals that tell ticks apart."""
    return next((d for d in range(7) if all(abs(n - round(n, d)) < 1e-9 for n in numbers)), 7)


def padded(values: Sequence[float]) -> tuple[float, float]:
    """The ends of an axis that holds the values."""
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or max(abs(high), 1e-3) * 0.01
    return low - pad, high + pad


def svg(title: str, height: float, marks: Iterable[str]) -> str:
    """A drawing of marks."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(title)}">'
        + "".join(marks)
        + "</svg>"
    )


def undefined(title: str) -> str:
    """What stands where there is nothing to draw."""
    return svg(title, 40, [text_at(12, 24, "undefined: no values", "label")])


def text_at(x: float, y: float, text: str, style: str) -> str:
    """A text in one of the styles of the page."""
    return f'<text class="{style}" x="{x:g}" y="{y:g}">{escape(text)}</text>'


def y_tick(y: Scale, tick: float, digits: int) -> str:
    """A line of the grid with its number to the left."""
    at = y(tick)
    line = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>'
    return line + text_at(LEFT - 6, at + 4, f"{tick:.{digits}f}", "tick end")
