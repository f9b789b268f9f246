"""One-hot features of users and items, for systems that have no embeddings."""

import numpy as np
from scipy import sparse

from thaw.data import Entities


def one_hot(table: Entities, *, first: int = 0) -> sparse.csr_matrix:
    """Return [N, values] with a 1 for the value of each categorical field from `first` on.

    Without such a field there is one column of zeros.
    """
    codes = np.asarray(table.codes)[:, first:]
    count, fields = codes.shape
    sizes = codes.max(0, initial=0).astype(np.int64) + 1
    columns = codes + np.concatenate([[0], np.cumsum(sizes)[:-1]])[:fields]
    rows = np.repeat(np.arange(count), fields)
    ones = np.ones(count * fields, np.float32)
    shape = (count, max(int(sizes.sum()), 1))
    return sparse.csr_matrix((ones, (rows, columns.ravel())), shape=shape)
