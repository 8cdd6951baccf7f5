import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from helpers import array, assert_close
from jaxcnn.interpret.checks.rankings import rank_agreement


def by_loops(a, b):
    """Ranks by counting, then Pearson's correlation of them."""
    found = []
    for rows in zip(a, b, strict=True):
        ranks = []
        for row in rows:
            flat = row.ravel()
            ranks.append([(flat < v).sum() + ((flat == v).sum() + 1) / 2 for v in flat])
        found.append(np.corrcoef(*ranks)[0, 1])
    return np.array(found)


@pytest.fixture
def pair():
    """Four images of 60 numbers: unlike, with many ties, one turned round, and one the same."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 4, 5, 4, 3))
    a[1], b[1] = np.round(a[1]), np.round(2 * b[1])
    b[2] = -(a[2] ** 3)
    b[3] = np.exp(a[3])
    return a, b


def test_hand():
    a = jnp.array([[1.0, 2.0, 3.0, 4.0]])
    # 1 - 6 sum d^2 / (n (n^2 - 1)), d = (1, -1, 1, -1)
    assert_close(rank_agreement(a, jnp.array([[0.2, 0.1, 9.0, 7.0]])), [1 - 6 * 4 / 60])
    assert rank_agreement(a, -a) == -1
    assert rank_agreement(a, -a, absolute=True) == 1


@pytest.mark.parametrize("absolute", [False, True])
def test_equals_scipy_and_loops(x64, pair, absolute):
    a, b = pair
    found = rank_agreement(jnp.array(a), jnp.array(b), absolute=absolute)
    if absolute:
        a, b = np.abs(a), np.abs(b)
    assert_close(found, by_loops(a, b), "float64")
    scipy = [stats.spearmanr(p.ravel(), q.ravel()).statistic for p, q in zip(a, b, strict=True)]
    assert_close(found, scipy, "float64")


def test_large_images():
    """50,000 numbers of which many are tied: the ranks' squares do not overflow or round away."""
    a, b = (jnp.round(1000 * array(1, 50_000, seed=i)) for i in range(2))
    b = b + a
    assert_close(rank_agreement(a, b), [stats.spearmanr(a[0], b[0]).statistic])


def test_zeros_of_both_signs_are_tied():
    a = jnp.array([[0.0, -0.0, 1.0, -1.0]])
    assert rank_agreement(a, jnp.array([[-0.0, 0.0, 1.0, -1.0]])) == 1


def test_constant_is_0_and_nan_stays():
    a = jnp.array([[1.0, 2.0], [3.0, 3.0], [1.0, jnp.nan]])
    b = jnp.array([[4.0, 4.0], [3.0, 3.0], [1.0, 2.0]])
    assert_close(rank_agreement(a, b), [0, 0, np.nan], "exact")
    assert_close(rank_agreement(b, a), [0, 0, np.nan], "exact")


def test_singles_jit_and_vmap(pair):
    a, b = (jnp.array(v, jnp.float32) for v in pair)
    found = rank_agreement(a, b)
    assert_close([rank_agreement(a[i : i + 1], b[i : i + 1])[0] for i in range(4)], found)
    assert_close(jax.vmap(jax.jit(rank_agreement))(a[None], b[None])[0], found)


def test_bfloat16_ranks_are_exact():
    a, b = (array(2, 300, seed=i).astype(jnp.bfloat16) for i in range(2))
    found = rank_agreement(a, b)
    assert found.dtype == jnp.float32
    assert_close(found, rank_agreement(a.astype(jnp.float32), b.astype(jnp.float32)))


def test_errors(unchecked):
    with pytest.raises(ValueError, match=r"rank_agreement: .* \(2, 3\) and \(2, 4\)\."):
        rank_agreement(jnp.ones((2, 3)), jnp.ones((2, 4)))
    with pytest.raises(ValueError, match=r"b and more axes, got \(2,\)"):
        rank_agreement(jnp.ones(2), jnp.ones(2))
