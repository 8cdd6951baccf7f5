import math

import pytest

from helpers import assert_close
from jaxcnn.train.schedules import SCHEDULES, make_schedule


def values(name, steps, **options):
    schedule = make_schedule(name, 0.5, epochs=4, steps_per_epoch=10, **options)
    return [float(schedule(t)) for t in steps]


def test_formulas():
    t = range(40)
    assert_close(values("constant", t), [0.5] * 40)
    assert_close(values("inverse-sqrt", t), [0.5 / math.sqrt(i + 1) for i in t])
    by_step = values("step", t, decay_factor=0.1, decay_epochs=2)
    assert_close(by_step, [0.5] * 20 + [0.05] * 20)
    exponential = values("exponential", t, decay_factor=0.1, decay_epochs=2)
    assert_close(exponential, [0.5 * 0.1 ** (i / 20) for i in t])
    assert_close(values("cosine", t), [0.25 * (1 + math.cos(math.pi * i / 40)) for i in t])
    warmup = values("warmup-cosine", t, warmup_epochs=1)
    assert_close(warmup[:11], [0.05 * i for i in range(11)])
    assert_close(warmup[10:], [0.25 * (1 + math.cos(math.pi * i / 30)) for i in range(30)])
    one_cycle = values("one-cycle", t)
    assert max(one_cycle) == one_cycle[12] == 0.5
    assert_close(one_cycle[0], 0.5 / 25)
    assert_close(values("one-cycle", [40]), [0.5 / 250_000])


def test_errors():
    with pytest.raises(ValueError, match="make_schedule: no schedule named 'cosin'. Known: const"):
        make_schedule("cosin", 0.1, epochs=1, steps_per_epoch=1)
    with pytest.raises(ValueError, match=r"warmup_epochs must be less than epochs, got 2 of 2"):
        make_schedule("warmup-cosine", 0.1, epochs=2, steps_per_epoch=5, warmup_epochs=2)


def test_every_name_is_positive_and_at_most_eta():
    for name in SCHEDULES:
        assert all(0 <= v <= 0.5 for v in values(name, range(40))), name
