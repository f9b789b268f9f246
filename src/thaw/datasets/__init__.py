"""The data sets that ship with thaw: schemas, and what it takes to read their odd files."""

from thaw.datasets.known import Known
from thaw.datasets.movielens import MOVIELENS_1M, MOVIELENS_100K

KNOWN: dict[str, Known] = {known.name: known for known in (MOVIELENS_1M, MOVIELENS_100K)}

__all__ = ["KNOWN", "Known"]
