"""Clouds of points: against slow loops, against hand arithmetic, and against chance."""

import math

import numpy as np
import pytest

from thaw.experiments.clouds import apart, mixing, pairwise, plane


def cloud(seed: int, count: int = 40, shift: float = 0.0, dim: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim)) + shift


def slow_mmd(one: np.ndarray, other: np.ndarray, width: float) -> float:
    def mean_kernel(a: np.ndarray, b: np.ndarray) -> float:
        total = 0.0
        for x in a:
            for y in b:
                total += math.exp(-sum((x - y) ** 2) / (2 * width**2))
        return total / (len(a) * len(b))

    return mean_kernel(one, one) + mean_kernel(other, other) - 2 * mean_kernel(one, other)


def test_mmd_agrees_with_a_slow_loop() -> None:
    one, other = cloud(0, 12), cloud(1, 7, shift=0.5)
    points = [*one, *other]
    between = sorted(math.dist(points[a], points[b]) for a in range(len(points)) for b in range(a))
    found = apart(one, other, permutations=99)
    assert found.width == pytest.approx(between[len(between) // 2])  # 171 pairs: the middle one
    assert found.mmd == pytest.approx(slow_mmd(one, other, found.width), abs=1e-12)


def test_the_width_leaves_out_points_that_coincide() -> None:
    # Distances between the four: 0, 2, 2, 2, 2, 0.
    assert apart([[0.0], [0.0]], [[2.0], [2.0]], permutations=99).width == 2.0
    assert apart([[1.0], [1.0]], [[1.0], [1.0]], permutations=99).mmd == 0.0


@pytest.mark.parametrize("is_paired", [False, True])
def test_p_values_of_equal_clouds_are_spread_evenly(is_paired: bool) -> None:
    values = [
        apart(cloud(2 * k, 20), cloud(2 * k + 1, 20), is_paired=is_paired, permutations=99).p_value
        for k in range(100)
    ]
    assert 0.4 < np.mean(values) < 0.6
    assert np.mean(np.array(values) <= 0.1) < 0.2
    assert min(values) >= 1 / 100


@pytest.mark.parametrize("is_paired", [False, True])
def test_p_of_different_clouds_is_the_least_there_is(is_paired: bool) -> None:
    found = apart(cloud(0), cloud(1, shift=2.0), is_paired=is_paired)
    assert found.p_value == 1 / 1000


def test_p_of_the_same_points_is_1() -> None:
    assert apart(cloud(0), cloud(0), is_paired=True).p_value == 1.0
    assert apart(cloud(0), cloud(0)).p_value == 1.0


def test_pairs_show_a_shift_that_users_differences_hide() -> None:
    users = 20 * cloud(0, 60)
    shifted = users + 0.5
    assert apart(users, shifted, is_paired=True).p_value < 0.01
    assert apart(users, shifted).p_value > 0.5


def test_the_same_seed_gives_the_same_p() -> None:
    one, other = cloud(0), cloud(1, shift=0.3)
    assert apart(one, other, seed=3) == apart(one, other, seed=3)
    assert apart(one, other, seed=3).p_value != apart(one, other, seed=4).p_value


def test_clouds_that_lie_apart_are_not_mixed() -> None:
    found = apart(cloud(0, 30), cloud(1, 20, shift=50.0), neighbours=5, permutations=99)
    assert (found.mixing, found.mixing_of) == (0.0, (0.0, 0.0))


def test_clouds_from_one_source_are_mixed_as_by_chance() -> None:
    found = apart(cloud(0, 400), cloud(1, 300), permutations=99)
    assert found.mixing == pytest.approx(1.0, abs=0.08)


def test_mixing_by_hand() -> None:
    # On a line: a at 0 and 1, b at 2 and 10. Of two nearest neighbours, a at 0 has a, b; a at 1
    # a, b; b at 2 both a; b at 10 b, a. By chance 2 of 3 are from the other cloud.
    points = np.array([[0.0], [1.0], [2.0], [10.0]])
    assert mixing(pairwise(points), 2, 2) == pytest.approx([0.75, 0.75, 1.5, 0.75])


def test_points_at_the_edge_of_a_neighbourhood_count_in_part() -> None:
    # Around the first a lie another a and two b, all 1 away: of one neighbour 2 of 3 are b.
    points = np.array([[0.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [1.0, 0.0], [50.0, 0.0]])
    by_chance = 3 / 4
    assert mixing(pairwise(points), 2, 1)[0] == pytest.approx(2 / 3 / by_chance)


def test_spread_is_the_ratio_of_total_variances() -> None:
    wide = np.array([[-2.0, 0.0], [2.0, 0.0]])  # variance 4
    assert apart(wide / 2, wide, permutations=99).spread == pytest.approx(0.25)
    assert math.isnan(apart(wide, np.ones((2, 2)), permutations=99).spread)


def test_clouds_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="clouds of 1 and 3 points"):
        apart(cloud(0, 1), cloud(1, 3))
    with pytest.raises(ValueError, match="clouds of 4 and 3 points"):
        apart(cloud(0, 4), cloud(1, 3), is_paired=True)


def test_the_plane_is_the_same_again_and_keeps_clouds_apart() -> None:
    points = np.concatenate([cloud(0, 30), cloud(1, 30, shift=30.0)])
    drawn = plane(points, seed=1)
    assert drawn.shape == (60, 2)
    assert np.array_equal(drawn, plane(points, seed=1))
    assert mixing(pairwise(drawn), 30, 5).mean() == 0.0


def test_points_that_are_all_the_same_are_drawn_at_one_place() -> None:
    assert np.array_equal(plane(np.full((5, 3), 0.1)), np.zeros((5, 2)))
