"""How far new users' answers are the cold ranker's: as far as validation says."""

import numpy as np
from scipy.special import logit

from thaw.data import Dataset
from thaw.model import Model
from thaw.predicting import mean_auc, predict

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
TINY = np.float64(1e-7)
"""What probabilities keep away from 0 and 1; a float64, as logits are to be."""


def fit_share(model: Model, dataset: Dataset, *, hides_behavior: bool = True) -> float:
    """Set the cold ranker's share in new users' logits to the one with their best validation AUC.

    It is returned.

    So a cold ranker that learned nothing which holds for other users is not heard. Where validation
    has no new users with both labels, the share stays what it is.
    """
    before = model.cold_share.clone()
    ends = []
    for share in (0.0, 1.0):
        model.cold_share.fill_(share)
        ends.append(predict(model, dataset, "validation", hides_behavior=hides_behavior))
    model.cold_share.copy_(before)
    rows = ends[0].is_new
    own, cold = (logit(found.probabilities[rows].clip(TINY, 1 - TINY)) for found in ends)
    values = [mean_auc(ends[0].labels[rows], own + share * (cold - own)) for share in SHARES]
    if not np.isnan(values).all():
        model.cold_share.fill_(SHARES[int(np.nanargmax(values))])
    return model.cold_share.item()
