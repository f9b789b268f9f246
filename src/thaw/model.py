"""The two towers and the embedding table that they share (Figure 2)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thaw.batch import Batch
from thaw.data import Dataset, Layout
from thaw.errors import MethodError
from thaw.methods import MAIL, Lookalikes, MetaEmb, Method
from thaw.nn.embeddings import Embeddings
from thaw.nn.factorization_machine import FactorizationMachine
from thaw.nn.fitted import Fitted
from thaw.nn.id_generator import IdGenerator
from thaw.nn.inputs import Inputs, InputShape, by_row, without_attribute
from thaw.nn.linear_map import LinearMap
from thaw.nn.lookalikes import LookalikeBehavior, Values
from thaw.nn.zero_shot import ZeroShotLosses, ZeroShotTower
from thaw.options import Training
from thaw.rankers import Output

Tower = ZeroShotTower | LinearMap | IdGenerator | Fitted | LookalikeBehavior


class Model(nn.Module):
    """A ranker with its embeddings, and beside it the zero-shot tower where the method has one.

    Args:
        embeddings: the shared table.
        ranker: the ranking tower.
        tower: what makes virtual behavior: the zero-shot tower, or what is in its place; or None.
        max_events: n_v.
        mail: how MAIL's tower learns and what it sees; None where another is in its place.
        fm: the factorization machine of attributes and items, what it says being added for new
            users; or None.
        hidden_attribute: the position of the attribute that is hidden from the tower, as new users
            have none that training saw; or None.

    Attributes:
        calibrated: whether the tower never learns from those that its calibration needs.
        sees_all: whether the tower sees context and target beside the attributes.
        fill_below: outside of training, users with fewer events than these are filled, and have
            what the factorization machine says: 1, new users alone, unless it is set.
    """

    def __init__(
        self,
        *,
        embeddings: Embeddings,
        ranker: nn.Module,
        tower: Tower | None,
        max_events: int,
        mail: MAIL | None = None,
        fm: FactorizationMachine | None = None,
        hidden_attribute: int | None = None,
    ) -> None:
        super().__init__()
        self.embeddings, self.ranker, self.tower = embeddings, ranker, tower
        self.fm = fm
        self.max_events, self.hidden_attribute = max_events, hidden_attribute
        self.mail = mail
        self.calibrated = mail is not None and mail.calibrated and mail.trained_by != "none"
        self.sees_all = mail is not None and mail.attribute_side == "all"
        self.fill_below = 1

    def forward(self, batch: Batch) -> Tensor:
        """Return the probabilities [B, tasks]."""
        found = self.ranked(batch)
        if self.fm is None:
            return found
        events = F.pad(batch.offsets.diff(), (0, batch.num_users - batch.num_old))
        return self.fm.answers(
            found, batch, (events < min(self.fill_below, self.max_events))[batch.user]
        )

    def ranked(self, batch: Batch) -> Tensor:
        """Return the probabilities [B, tasks] without what the factorization machine says."""
        inputs = self.embed(batch, self.embeddings.look_up(batch))
        if isinstance(self.tower, LookalikeBehavior):
            return self.tower.answers(self.ranker, inputs, Values.of(batch))
        return torch.sigmoid(self.rank(inputs).logits)

    def embed(self, batch: Batch, rows: Tensor) -> Inputs:
        """Embed a batch with its table rows [R, d]."""
        inputs: Inputs = self.embeddings(batch, rows)
        return by_row(inputs) if self.sees_all else inputs

    def learned_users(self, batch: Batch) -> Tensor:
        """Return the places of the old users that the tower learns from, among its inputs'."""
        numbers = batch.users[: batch.num_old]
        if self.sees_all:  # each row as a user of its own
            numbers = batch.users.index_select(0, batch.user[~batch.is_new])
        is_learned = ~is_apart(numbers) if self.calibrated else torch.ones_like(numbers)
        return is_learned.nonzero().squeeze(1)

    def zero_shot_losses(self, inputs: Inputs, users: Tensor) -> ZeroShotLosses:
        """Return the tower's losses on some old users, or on a sample (Algorithm 1, line 8)."""
        assert self.mail is not None
        assert isinstance(self.tower, ZeroShotTower)
        most = self.mail.users_per_step
        if most is not None and len(users) > most:
            users = users[torch.randperm(len(users), device=users.device)[:most]]
        chosen = inputs.behavior.select_users(users)
        behavior, mask = chosen.pad_users(self.max_events, newest_first=True)
        attributes = self.seen(inputs).index_select(0, users)
        # The embeddings are constants to the tower: it reconstructs them and must not move them.
        losses: ZeroShotLosses = self.tower(attributes.detach(), behavior.detach(), mask)
        return losses

    def rank(self, inputs: Inputs) -> Output:
        """Return what the ranker makes of the rows, new users filled (lines 10 to 13)."""
        if not self.training or self.mail is None or self.mail.fill_in_training:
            inputs = self.filled(inputs)
        output: Output = self.ranker(inputs)
        return output

    def filled(self, inputs: Inputs) -> Inputs:
        """Give new users their virtual behavior (Eqs. 8-10), the same in training and serving.

        In serving users of few events can have it too, in the places that theirs leave empty.
        """
        tower = self.tower
        if isinstance(tower, IdGenerator):
            return tower.filled(inputs)
        if tower is None or isinstance(tower, LookalikeBehavior):
            return inputs
        below = 1 if self.training else self.fill_below
        users = (inputs.behavior.lengths < below).nonzero().squeeze(1)
        if len(users) == 0:
            return inputs
        attributes = self.seen(inputs).index_select(0, users)
        if isinstance(tower, LinearMap):
            virtual, repeats = tower.generate(attributes)
        else:
            # No gradient of the ranking loss may reach the tower, which learns from L_zst alone.
            with torch.no_grad(), _evaluating(tower):
                virtual, repeats = tower.generate(attributes)
        return replace(inputs, behavior=inputs.behavior.fill(users, virtual, repeats))

    @property
    def makes_events(self) -> bool:
        """Whether its tower makes events, which can stand before a user's own."""
        return self.tower is not None and not isinstance(
            self.tower, IdGenerator | LookalikeBehavior
        )

    @property
    def can_fill(self) -> bool:
        """Whether users of few events can have something of what new ones have."""
        return self.makes_events or self.fm is not None

    def seen(self, inputs: Inputs) -> Tensor:
        """Return what virtual behavior is made from, [U, n, d]."""
        attributes = without_attribute(inputs.user_attributes, self.hidden_attribute)
        if not self.sees_all:
            return attributes
        row = inputs.behavior.user.argsort()
        context, target = inputs.context.index_select(0, row), inputs.target.index_select(0, row)
        return torch.cat([attributes, context, target], dim=1)


def is_apart(users: Tensor) -> Tensor:
    """[U] bool, whether the tower never learns from these: every tenth, by number."""
    return users % 10 == 9


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    was_training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(was_training)


def build_for(method: Method, dataset: Dataset, options: Training) -> Model:
    """Build the model that a method trains on a dataset."""
    return build(
        method,
        dataset.layout,
        dim=options.dim,
        max_events=options.max_events,
        tasks=len(dataset.schema.tasks),
        seed=options.seed,
    )


def check_buildable(method: Method, dataset: Dataset, options: Training) -> None:
    """Let a method's towers refuse a dataset before anything is written or trained.

    Raises:
        MethodError: when one of them can't be built for it.
    """
    layout = dataset.layout
    others = len(layout.attributes) - (layout.hides_id and layout.id_attribute is not None)
    if method.mail is not None and method.mail.attribute_side == "attributes" and not others:
        raise MethodError(
            f"{method.name} makes behavior from user attributes; the schema has none that the "
            "rule for new users does not hide"
        )
    if method.fm and len(layout.attributes) == (layout.id_attribute is not None):
        raise MethodError(
            f"{method.name} multiplies user attributes with items; the schema has none beside "
            "the user's id"
        )
    tasks = len(dataset.schema.tasks)
    shape = _shape(layout, dim=options.dim, max_events=options.max_events, tasks=tasks)
    with torch.random.fork_rng(devices=[]):
        method.factory(shape)
        tower = method.for_new_users.tower(shape) if method.for_new_users is not None else None
    known = isinstance(tower, Fitted) or isinstance(method.after, MetaEmb | Lookalikes)
    if method.after is not None and not known:
        name = type(method.after).__name__
        raise MethodError(f"{name}.tower gives {type(tower).__name__}, which is no thaw.nn.Fitted")


def _shape(layout: Layout, *, dim: int, max_events: int, tasks: int) -> InputShape:
    return InputShape(
        dim=dim,
        attributes=len(layout.attributes),
        context=len(layout.context),
        target=len(layout.target),
        max_events=max_events,
        tasks=tasks,
        has_id=layout.id_attribute is not None,
    )


def build(
    method: Method, layout: Layout, *, dim: int, max_events: int, tasks: int, seed: int
) -> Model:
    """Build a method's model, all weights by Xavier's method (Algorithm 1, line 1).

    The global random state is left as it was.
    """
    shape = _shape(layout, dim=dim, max_events=max_events, tasks=tasks)
    with torch.random.fork_rng(devices=[]):  # everything is built on the CPU
        torch.default_generator.manual_seed(seed)
        embeddings = Embeddings(layout.sizes, dim, layout.shared)
        ranker = method.factory(shape)
        ranker.apply(_xavier)
        for_new_users = method.for_new_users
        tower = for_new_users.tower(shape).apply(_xavier) if for_new_users is not None else None
        fm = _machine(layout, dim) if method.fm else None
    return Model(
        embeddings=embeddings,
        ranker=ranker,
        tower=tower,
        max_events=max_events,
        mail=method.mail,
        fm=fm,
        hidden_attribute=layout.id_attribute if layout.hides_id else None,
    )


def _machine(layout: Layout, dim: int) -> FactorizationMachine:
    has_id = layout.id_attribute is not None
    return FactorizationMachine(sizes=layout.sizes, dim=dim, given=layout.given, has_id=has_id)


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
