"""Ranking towers, one file each, and the contract that a ranker of your own meets."""

from thaw.rankers.base_dnn import BaseDNN
from thaw.rankers.contract import Output, Ranker, RankerFactory

RANKERS: dict[str, RankerFactory] = {"base-dnn": BaseDNN}

__all__ = ["RANKERS", "BaseDNN", "Output", "Ranker", "RankerFactory"]
