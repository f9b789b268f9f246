"""The data sets that ship with thaw: schemas, and what it takes to read their odd files."""

from thaw.datasets.alimama import ALIMAMA
from thaw.datasets.industrial import INDUSTRIAL, industrial_schema, industrial_world
from thaw.datasets.known import Known
from thaw.datasets.movielens import MOVIELENS_1M, MOVIELENS_100K
from thaw.datasets.simulated import SIMULATED, simulate
from thaw.datasets.world import World

KNOWN: dict[str, Known] = {
    each.name: each for each in (SIMULATED, INDUSTRIAL, MOVIELENS_1M, MOVIELENS_100K, ALIMAMA)
}

__all__ = ["KNOWN", "Known", "World", "industrial_schema", "industrial_world", "simulate"]
