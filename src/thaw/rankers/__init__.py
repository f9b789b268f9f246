"""Ranking towers, one file each, and the contract that a ranker of your own meets."""

from thaw.rankers.base_dnn import BaseDNN
from thaw.rankers.contract import Output, Ranker, RankerFactory
from thaw.rankers.din import DIN
from thaw.rankers.dmr import DMR
from thaw.rankers.emblr import Emblr

RANKERS: dict[str, RankerFactory] = {"emblr": Emblr, "base-dnn": BaseDNN, "din": DIN, "dmr": DMR}

__all__ = ["DIN", "DMR", "RANKERS", "BaseDNN", "Emblr", "Output", "Ranker", "RankerFactory"]
