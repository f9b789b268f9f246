"""thaw: better ranking for new users, beside your own ranking model (MAIL, CIKM 2021)."""

import os

# PyTorch's threads wait for each other by spinning. Beside another process on the same cores, or
# under a container's limit, that makes both ten times slower; a short spin costs a few percent when
# alone. OpenMP reads this once, when PyTorch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

from thaw.data import Dataset
from thaw.datasets import KNOWN
from thaw.errors import DataError, MethodError, SchemaError, ThawError, TrainingError
from thaw.experiments.compare import compare
from thaw.experiments.comparison import Comparison
from thaw.methods import MAIL, Method
from thaw.nn.inputs import Behavior, Inputs, InputShape
from thaw.options import Training
from thaw.preparation import prepare
from thaw.rankers import DIN, DMR, ESMM, BaseDNN, Emblr, Output
from thaw.recommender import Recommender
from thaw.schema import Schema
from thaw.training import train

__all__ = [
    "DIN",
    "DMR",
    "ESMM",
    "KNOWN",
    "MAIL",
    "BaseDNN",
    "Behavior",
    "Comparison",
    "DataError",
    "Dataset",
    "Emblr",
    "InputShape",
    "Inputs",
    "Method",
    "MethodError",
    "Output",
    "Recommender",
    "Schema",
    "SchemaError",
    "ThawError",
    "Training",
    "TrainingError",
    "compare",
    "prepare",
    "train",
]
