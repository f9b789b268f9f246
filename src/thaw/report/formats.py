"""How reports write numbers: the same in tables, sentences and figures."""

import math

from thaw.experiments.comparison import SIGNIFICANT
from thaw.statistics import Interval

DASH = "\N{EN DASH}"
"""Stands for NaN."""


def fixed(value: float, digits: int = 4) -> str:
    """A number with so many decimals."""
    return DASH if math.isnan(value) else f"{value:z.{digits}f}"


def signed(value: float, digits: int = 4) -> str:
    """A number with its sign."""
    return DASH if math.isnan(value) else f"{value:+z.{digits}f}"


def percent(share: float) -> str:
    """A share in whole percent."""
    return DASH if math.isnan(share) else f"{100 * share:z.0f} %"


def share(interval: Interval) -> str:
    """A share in whole percent with its interval, where that is known."""
    if math.isnan(interval.low) or math.isnan(interval.high):
        return percent(interval.mean)
    return (
        f"{percent(interval.mean)} (95 %: {100 * interval.low:z.0f} to {100 * interval.high:z.0f})"
    )


def count(number: float) -> str:
    """A count, rounded, with commas between thousands."""
    return DASH if math.isnan(number) else f"{number:,.0f}"


def half_width(interval: Interval) -> str:
    """Half of an interval's width; nothing without a mean."""
    if math.isnan(interval.mean):
        return ""
    return f"±{fixed((interval.high - interval.low) / 2)}"


def p_value(p: float) -> str:
    """A p-value that never looks insignificant by rounding alone."""
    if math.isnan(p):
        return DASH
    if p < 0.001:
        return "<0.001"
    text = f"{p:.3f}"
    return f"<{text}" if p < SIGNIFICANT <= float(text) else text


def p_phrase(p: float) -> str:
    """A p-value as it stands in a sentence: 'p = 0.012', 'p < 0.001'."""
    text = p_value(p)
    return f"p < {text[1:]}" if text.startswith("<") else f"p = {text}"
