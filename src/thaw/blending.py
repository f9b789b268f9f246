"""How far new users' answers are the cold ranker's: as far as users say that it never saw."""

import numpy as np
import torch

from thaw.data import Dataset, Layout
from thaw.loader import Loader, LoaderOptions
from thaw.model import Model, is_apart
from thaw.predicting import embedded, mean_auc

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


@torch.no_grad()
def fit_share(model: Model, dataset: Dataset) -> float:
    """Set the cold ranker's share in new users' logits to the one with the best validation AUC.

    It is that of the users from whom the cold ranker does not learn, all shown as new: so one that
    memorised its users is not heard. Where their rows lack a class, the share stays what it is. It
    is returned.
    """
    table = dataset.splits["validation"]
    rows = np.flatnonzero(is_apart(torch.tensor(table.user)).numpy())
    layout = Layout.build(dataset.schema, dataset.vocabularies, dataset.moments)
    loader = Loader(dataset, layout, "validation", LoaderOptions(max_events=model.max_events))
    ranked = [model.rank(inputs) for inputs in embedded(model, loader, rows, is_new=True)]
    if ranked:
        own = torch.cat([each.own_logits for each in ranked]).double().cpu().numpy()
        cold = torch.cat([each.cold_logits for each in ranked if each.cold_logits is not None])
        away = cold.double().cpu().numpy() - own
        labels = np.asarray(table.labels)[rows]
        values = [mean_auc(labels, own + share * away) for share in SHARES]
        if not np.isnan(values).all():
            model.cold_share.fill_(SHARES[int(np.nanargmax(values))])
    return model.cold_share.item()
