import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import SHAPE, TOWER

LENGTHS = [5, 1, 3, 2]
DEPARTURES = [
    {},
    {"reconstruction": "mean"},
    {"padding": "reconstruct"},
    {"padding": "reconstruct", "reconstruction": "mean"},
    {"alignment": "mse"},
    {"bandwidth": 0.5},
    {"length": "predicted"},
    {"virtual_events": 1},
    {"virtual_events": 2, "padding": "reconstruct"},
    {"virtual_events": 2, "length": "predicted"},
]
departures = pytest.mark.parametrize("options", DEPARTURES, ids=str)


def tower_of(**options):
    torch.manual_seed(0)
    return replace(TOWER, **options).tower(SHAPE).double().eval()


@pytest.fixture
def users():
    """Attributes, padded behavior and mask of four old users."""
    draw = torch.Generator().manual_seed(1)
    attributes = torch.randn(4, 3, 4, dtype=torch.float64, generator=draw)
    behavior = torch.randn(4, 5, 4, dtype=torch.float64, generator=draw)
    mask = torch.arange(5) < torch.tensor(LENGTHS).unsqueeze(1)
    return attributes, behavior * mask.unsqueeze(2), mask


def hidden_features(tower, attributes, behavior, mask):
    """p = E1(h^a) and q = E2(h^v)."""
    p = tower.attribute_encoder(tower.attribute_pooling(attributes))
    q = tower.behavior_encoder(tower.behavior_pooling(behavior, mask))
    return p, q


def slow_reconstruction(tower, hidden, users, options):
    """Eq. 3 for p or Eq. 4 for q: coordinate by coordinate, averaged over users."""
    attributes, behavior, mask = (part.numpy() for part in users)
    d1 = tower.attribute_decoder(hidden).detach().numpy()
    d2 = tower.behavior_decoder(hidden).detach().numpy()
    each = math.ceil(5 / (options.get("virtual_events") or 5))
    total_a = total_v = 0.0
    for u in range(4):
        for i in range(3):
            total_a += sum((d1[u][4 * i + k] - attributes[u, i, k]) ** 2 for k in range(4))
        for i in range(5):
            if mask[u, i] or options.get("padding") == "reconstruct":
                total_v += sum(
                    (d2[u][4 * (i // each) + k] - behavior[u, i, k]) ** 2 for k in range(4)
                )
    is_mean = options.get("reconstruction") == "mean"
    return total_a / 4 / (12 if is_mean else 1) + total_v / 4 / (20 if is_mean else 1)


def slow_alignment(p, q, options):
    p, q = p.detach().numpy(), q.detach().numpy()
    if options.get("alignment") == "mse":
        return np.mean([(a - b) ** 2 for a, b in zip(p.ravel(), q.ravel(), strict=True)])
    width = 2 * options.get("bandwidth", 1.0) ** 2
    pairs = [(i, j) for i in range(4) for j in range(4)]
    within = sum(math.exp(-sum((x[i] - x[j]) ** 2) / width) for x in (p, q) for i, j in pairs)
    across = sum(math.exp(-sum((p[i] - q[j]) ** 2) / width) for i, j in pairs)
    return (within - 2 * across) / 4**2


@departures
def test_losses_are_equations_3_to_6(options, users):
    tower = tower_of(**options)
    losses, (p, q) = tower(*users), hidden_features(tower, *users)
    assert losses.attribute_side.item() == pytest.approx(
        slow_reconstruction(tower, p, users, options)
    )
    assert losses.behavior_side.item() == pytest.approx(
        slow_reconstruction(tower, q, users, options)
    )
    assert losses.alignment.item() == pytest.approx(slow_alignment(p, q, options))


@departures
def test_total_is_the_sum_of_equation_7(options, users):
    losses = tower_of(**options)(*users)
    assert losses.total.item() == pytest.approx(sum(part.item() for part in losses))


@pytest.mark.parametrize("trained_by", ["single", "dual"])
def test_ablations_leave_losses_out_of_equation_7(trained_by, users):
    full, part = tower_of()(*users), tower_of(trained_by=trained_by)(*users)
    kept = {"single": ("attribute_side",), "dual": ("attribute_side", "behavior_side")}[trained_by]
    for name in full._fields:
        expected = getattr(full, name).item() if name in kept else 0
        assert getattr(part, name).item() == pytest.approx(expected)
    assert part.total.item() == pytest.approx(sum(getattr(full, name).item() for name in kept))


def test_length_loss_is_the_squared_error_of_the_share(users):
    tower = tower_of(length="predicted")
    p, _ = hidden_features(tower, *users)
    head = [max(0.0, value) for value in tower.length_head(p).squeeze(1).tolist()]
    expected = np.mean([(got - n / 5) ** 2 for got, n in zip(head, LENGTHS, strict=True)])
    assert tower(*users).length.item() == pytest.approx(expected)
    assert tower_of()(*users).length == 0


def test_generation_is_equation_8(users):
    tower = tower_of()
    virtual, repeats = tower.generate(users[0])
    flat = tower.behavior_decoder(tower.attribute_encoder(tower.attribute_pooling(users[0])))
    for u in range(4):
        for i in range(5):
            ago = 4 - i  # the oldest comes first
            assert torch.equal(virtual[u, i], flat[u, 4 * ago : 4 * ago + 4])
    assert repeats.tolist() == [[1] * 5] * 4


@pytest.mark.parametrize(("virtual_events", "repeats"), [(1, [5]), (2, [2, 3]), (4, [1, 2, 2])])
def test_fewer_virtual_events_stand_for_all_positions(users, virtual_events, repeats):
    tower = tower_of(virtual_events=virtual_events)
    virtual, found = tower.generate(users[0])
    assert virtual.shape == (4, len(repeats), 4)
    assert found.tolist() == [repeats] * 4


def test_generation_reads_no_behavior_side(users):
    tower = tower_of()
    before, _ = tower.generate(users[0])
    for part in (tower.behavior_pooling, tower.behavior_encoder, tower.attribute_decoder):
        for parameter in part.parameters():
            torch.nn.init.constant_(parameter, torch.nan)
    assert torch.equal(tower.generate(users[0])[0], before)


@pytest.mark.parametrize(("bias", "expected"), [(-9.0, 1), (0.5, 2), (0.62, 3), (9.0, 5)])
def test_predicted_lengths_are_rounded_into_1_to_n_v(users, bias, expected):
    tower = tower_of(length="predicted")
    torch.nn.init.zeros_(tower.length_head.weight)
    torch.nn.init.constant_(tower.length_head.bias, bias)
    assert tower.generate(users[0])[1].sum(1).tolist() == [expected] * 4


def test_decoders_are_shared_and_encoders_are_not(users):
    tower = tower_of()
    losses = tower(*users)
    for name, reaches in (
        ("attribute_side", "attribute_encoder"),
        ("behavior_side", "behavior_encoder"),
    ):
        gradients = torch.autograd.grad(
            getattr(losses, name), list(tower.parameters()), retain_graph=True, allow_unused=True
        )
        names = {
            n.split(".")[0]
            for (n, _), g in zip(tower.named_parameters(), gradients, strict=True)
            if g is not None and g.any()
        }
        pooling = reaches.replace("encoder", "pooling")
        assert names == {reaches, pooling, "attribute_decoder", "behavior_decoder"}


def test_a_user_alone_has_losses(users):
    losses = tower_of()(*(part[:1] for part in users))
    assert losses.total.isfinite()
