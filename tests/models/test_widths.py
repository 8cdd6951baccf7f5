import pytest

from jaxcnn.models.widths import make_divisible


def test_nearest_multiple_but_never_much_less():
    # Up half-way (12 -> 16, 20 -> 24); down only within 10 % (83 -> 80, but 11 -> 16).
    widths = [3, 8, 11, 12, 16 * 0.5, 20, 83, 84, 1280 * 1.4]
    assert [make_divisible(w) for w in widths] == [8, 8, 16, 16, 8, 24, 80, 88, 1792]
    assert make_divisible(7.4, 1) == 7
    assert make_divisible(100, 24) == 96
    for width in range(1, 500):
        found = make_divisible(width)
        assert found % 8 == 0
        assert found >= 0.9 * width
        assert found < width + 8


def test_errors():
    for bad in [(0, 8), (-3, 8), (8, 0)]:
        with pytest.raises(ValueError, match="make_divisible: width and divisor must be positive"):
            make_divisible(*bad)
