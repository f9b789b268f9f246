"""Ranking towers, one file each, and the contract that a ranker of your own meets."""

from thaw.rankers.base_dnn import BaseDNN
from thaw.rankers.contract import Output, Ranker, RankerFactory
from thaw.rankers.din import DIN

RANKERS: dict[str, RankerFactory] = {"base-dnn": BaseDNN, "din": DIN}

__all__ = ["DIN", "RANKERS", "BaseDNN", "Output", "Ranker", "RankerFactory"]
