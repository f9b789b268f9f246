"""Ranking towers, one file each, and the contract that a ranker of your own meets."""

from thaw.rankers.base_dnn import BaseDNN
from thaw.rankers.contract import Output, Ranker, RankerFactory
from thaw.rankers.din import DIN
from thaw.rankers.dmr import DMR
from thaw.rankers.emblr import Emblr
from thaw.rankers.esmm import ESMM, esmm_dmr

RANKERS: dict[str, RankerFactory] = {
    "emblr": Emblr,
    "base-dnn": BaseDNN,
    "din": DIN,
    "dmr": DMR,
    "esmm": ESMM,
    "esmm-dmr": esmm_dmr,
}

__all__ = ["DIN", "DMR", "ESMM", "RANKERS", "BaseDNN", "Emblr", "Output", "Ranker", "RankerFactory"]
