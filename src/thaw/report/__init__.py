"""Reports of a comparison: in a terminal, as one HTML file, as plain values, and in sentences."""

from thaw.report.advice import advice
from thaw.report.facts import DataFacts, data_facts
from thaw.report.html import write_html
from thaw.report.plain import comparison_json
from thaw.report.terminal import print_comparison
from thaw.report.verdict import verdict

__all__ = [
    "DataFacts",
    "advice",
    "comparison_json",
    "data_facts",
    "print_comparison",
    "verdict",
    "write_html",
]
