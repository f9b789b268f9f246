"""What is checked before training, and what is said where it goes wrong."""

import numpy as np

from thaw.batch import Batch
from thaw.data import Dataset
from thaw.errors import TrainingError
from thaw.methods import Method
from thaw.methods.method import DROPOUT, MACHINE, plain_name
from thaw.model import Model
from thaw.options import LOSSES
from thaw.tables.vocabularies import categorical, dense

FAR = 1000.0
"""A dense value so many standard deviations from its mean is what made losses explode."""


def check_validation(dataset: Dataset) -> None:
    """Refuse a dataset that gives early stopping no AUC: some task must have both classes.

    Raises:
        TrainingError: where no task has.
    """
    labels = np.asarray(dataset.splits["validation"].labels)
    if not (labels.min(0) < labels.max(0)).any():
        trained = np.asarray(dataset.splits["train"].labels)
        if not (trained.min(0) < trained.max(0)).any():
            tasks = ", ".join(task.label for task in dataset.schema.tasks)
            raise TrainingError(
                f"train: every label of its {len(trained)} rows is the same, so there is nothing "
                f"to learn; look at the labels' column ({tasks})"
            )
        raise TrainingError(
            f"validation: every label of its {len(labels)} rows is the same, so nothing says when "
            "to stop; raise split.validation_share and prepare again"
        )


def check_learnable(dataset: Dataset, what: Method) -> None:
    """Refuse a dataset without those from whom new users' behavior is learned.

    The tower learns from old users, MAIL-None's map from new ones.

    Raises:
        TrainingError: where there are none.
    """
    is_new = dataset.is_new("train")
    if is_new.all():
        raise TrainingError(
            f"train: no row has behavior before it, so {what.name} has nothing to learn "
            "from; look at the events' user and time columns, or train a ranker alone"
        )
    is_mail_none = what.mail is not None and what.mail.trained_by == "none"
    if is_mail_none and what.behavior_dropout == 0 and not is_new.any():
        hiding = f"{plain_name(what.name)}{DROPOUT}{MACHINE if what.fm else ''}"
        raise TrainingError(
            "train: every row has behavior before it, so MAIL-None's map has nothing to learn "
            f"from; train {hiding}, which hides some, or prepare with the paper's rule"
        )


def cause(model: Model, batch: Batch, losses: np.ndarray, dataset: Dataset) -> str:
    """Return what most likely made the losses unsound: a huge input, or weights that grew."""
    schema = dataset.schema
    groups = (
        ("users", batch.attributes, schema.users.fields),
        ("impressions", batch.context, schema.impressions.context),
        ("items", batch.target, schema.items.fields),
    )
    for table, fields, declared in groups:
        if fields.scale is not None and float(fields.scale.abs().max()) > FAR:
            names = [field.name for field in (*categorical(declared), *dense(declared))]
            worst, column = fields.scale.abs().amax(0).max(0)
            return (
                f"{table}.{names[int(column)]} is {float(worst):.3g} standard deviations from its "
                "mean; clip it or take its logarithm"
            )
    rows = model.embeddings.table
    largest = float(rows.index_select(0, batch.rows.to(rows.device)).abs().max())
    which = LOSSES[int(np.argmax(np.where(np.isfinite(losses), losses, np.inf)))]
    return f"the {which} loss diverged (largest embedding {largest:.3g}); lower the learning rate"
