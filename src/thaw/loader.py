"""The loader: batches of a split, shuffled by seed, made ahead in a background thread."""

import contextlib
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from thaw.batch import Assembler, Batch, Rows
from thaw.data import Dataset


@dataclass(frozen=True)
class LoaderOptions:
    """How a split is turned into batches.

    Attributes:
        batch_size: rows a batch; the last ones are evened out, so that no batch is tiny.
        max_events: n_v, how many of a user's last events are seen.
        is_training: shuffle, replace a share of ids, and hide a share of behavior.
        unknown_share: the share of ids that become 'unknown' or 'missing'.
        hides_behavior: whether the rule for new users is applied; not so for the ceiling.
        shown_events: everyone is shown as if they had come with their last so many events alone,
            with none as a new user, and under the strict rule with an unknown id, whose training
            knew more; None shows users as they are.
        seed: of the order and of the shares.
        ahead: batches made ahead.
    """

    batch_size: int = 1024
    max_events: int = 100
    is_training: bool = False
    unknown_share: float = 0.0
    hides_behavior: bool = True
    shown_events: int | None = None
    seed: int = 0
    ahead: int = 4


class Loader:
    """The batches of one split.

    Every batch depends on the seed, the epoch, its number and the share of hidden behavior alone:
    reading can start at any of them and gives the same batches as reading from the start.
    """

    def __init__(self, dataset: Dataset, split: str, options: LoaderOptions) -> None:
        self.dataset, self.split, self.options = dataset, split, options
        self.impressions = dataset.splits[split]
        share = options.unknown_share if options.is_training else 0.0
        shown = options.shown_events
        self.assembler = Assembler(
            dataset,
            dataset.layout,
            max_events=options.max_events if shown is None else min(shown, options.max_events),
            unknown_share=share,
            knows_ids=shown is None,
        )

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self.impressions) // self.options.batch_size)

    def epoch(
        self, number: int = 0, start: int = 0, *, behavior_dropout: float = 0.0
    ) -> Iterator[Batch]:
        """Yield an epoch's batches from the batch `start` on, made ahead in a thread.

        With `behavior_dropout` training shows that share of old users' rows as the rule shows a new
        user's: without behavior, and under the strict rule with an unknown id.
        """
        made: queue.Queue[Batch | BaseException | None] = queue.Queue(self.options.ahead)
        is_over = threading.Event()

        def make() -> None:
            try:
                for batch in self._batches(number, start, behavior_dropout):
                    made.put(batch)
                    if is_over.is_set():
                        return
                made.put(None)
            except BaseException as error:  # raised where the batches are read
                made.put(error)

        thread = threading.Thread(target=make, name="thaw-loader", daemon=True)
        thread.start()
        try:
            while (batch := made.get()) is not None:
                if isinstance(batch, BaseException):
                    raise batch
                yield batch
        finally:
            is_over.set()
            while thread.is_alive():  # it may wait for room in the queue
                with contextlib.suppress(queue.Empty):
                    made.get(timeout=0.01)

    def _batches(self, number: int, start: int, behavior_dropout: float) -> Iterator[Batch]:
        order = self._order(number)
        # Evened out: a last batch of one row would stop batch normalisation.
        bounds = np.linspace(0, len(self.impressions), len(self) + 1).astype(np.int64)
        for index in range(start, len(self)):
            low, high = bounds[index], bounds[index + 1]
            chosen = slice(low, high) if order is None else order[low:high]
            yield self.batch(chosen, number, index, behavior_dropout)

    def _order(self, number: int) -> np.ndarray | None:
        if not self.options.is_training:
            return None
        return np.random.default_rng((self.options.seed, number)).permutation(len(self.impressions))

    def batch(
        self,
        chosen: np.ndarray | slice,
        number: int,
        index: int,
        behavior_dropout: float = 0.0,
    ) -> Batch:
        """Return the batch of some of the split's rows."""
        options, rows = self.options, self.rows(chosen)
        if not options.is_training:
            return self.assembler.batch(rows)
        # One more than the index: a last zero would give the stream of the epoch's order.
        random = np.random.default_rng((options.seed, number, index + 1))
        is_dropped = random.random(len(rows.user)) < behavior_dropout
        hidden = rows.hidden | (is_dropped & (rows.pointer > 0))
        return self.assembler.batch(replace(rows, hidden=hidden), random)

    def rows(self, chosen: np.ndarray | slice) -> Rows:
        """Return some of the split's rows, behavior hidden as the options have it."""
        table = self.impressions
        user = table.user[chosen]
        is_hidden = self.dataset.is_hidden(self.split)[user]
        if not self.options.hides_behavior:
            is_hidden = np.zeros(len(user), bool)
        if self.options.shown_events == 0:
            is_hidden = np.ones(len(user), bool)
        return Rows(
            user=user,
            item=table.item[chosen],
            pointer=table.pointer[chosen],
            hidden=is_hidden,
            codes=table.codes[chosen],
            dense=table.dense[chosen],
            labels=table.labels[chosen],
        )
