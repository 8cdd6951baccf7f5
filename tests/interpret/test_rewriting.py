import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from helpers import assert_close
from jaxcnn.autodiff.jaxprs import evaluate, has, inner_jaxprs
from jaxcnn.interpret.rewriting import rewrite, unshared


def own_jvp(s, x):
    """s with a derivative of its own."""
    f = jax.custom_jvp(s)
    f.defjvp(lambda x, t: (s(*x), 7.0 * t[0]))
    return f(x)


def own_vjp(s, x):
    f = jax.custom_vjp(s)
    f.defvjp(lambda x: (s(x), None), lambda _, t: (7.0 * t,))
    return f(x)


def scanned(s, x):
    c = jnp.arange(3.0)
    carry, ys = lax.scan(lambda h, a: (s(h) + a, h * a), x, c, reverse=True)
    return carry + ys.sum(0)


def looped(s, x):
    scale = x[1]
    return lax.while_loop(lambda h: h[0] < 1.4 * scale, lambda h: s(h) + scale, x)


def nested(s, x):
    return lax.map(jax.checkpoint(jax.jit(lambda a: own_jvp(s, scanned(s, a[None])))), x)[:, 0]


# Functions of x with s somewhere inside.
PROGRAMS = {
    "plain": lambda s, x: s(x),
    "jit": lambda s, x: jax.jit(lambda x: jax.jit(s)(x) * jax.jit(s)(2 * x))(x),
    "remat": lambda s, x: jax.checkpoint(lambda x: x * s(x))(x),
    "scan": scanned,
    "cond": lambda s, x: lax.cond(x[0] > 0.5, s, jnp.tanh, x),
    "switch": lambda s, x: lax.switch((x[0] > 0) * 2, [jnp.tanh, s, lambda x: s(2 * x)], x),
    "platforms": lambda s, x: lax.platform_dependent(x, cpu=s, default=jnp.tanh),
    "while": looped,
    "custom_jvp": own_jvp,
    "custom_vjp": own_vjp,
    "vmap": lambda s, x: jax.vmap(lambda a: scanned(s, a[None])[0])(x),
    "several outputs": lambda s, x: jnp.stack(jnp.split(s(x), 2)).ravel(),
    "constants": lambda s, x: s(x) * np.arange(4.0, dtype=np.float32),
    "nested": nested,
}
X = jnp.array([0.6, 1.0, 0.3, -0.2])


def with_cosines(equation, values):
    return [jnp.cos(*values)] if equation.primitive.name == "sin" else None


def holds_sin(equation):
    return any(has(j, ["sin"]) for j in inner_jaxprs(equation))


def program(name, s=jnp.sin):
    return lambda x: PROGRAMS[name](s, x)


@pytest.mark.parametrize("name", PROGRAMS)
def test_without_a_rule_nothing_changes(name):
    f = program(name)
    jaxpr = jax.make_jaxpr(f)(X)

    @jax.jit
    def all_of_it(x):
        opened, closed = (
            rewrite(jaxpr, [x], lambda e, v: None, lambda e, goes=goes: goes)[0]
            for goes in (True, False)
        )
        return f(x), opened, closed

    expected, opened, closed = all_of_it(X)
    assert_close(opened, expected)
    assert_close(closed, expected)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_rule_goes_everywhere(name):
    jaxpr = jax.make_jaxpr(program(name))(X)

    @jax.jit
    def both(x):
        return rewrite(jaxpr, [x], with_cosines, holds_sin)[0], program(name, jnp.cos)(x)

    assert_close(*both(X))


@pytest.mark.parametrize("name", ["custom_jvp", "custom_vjp"])
def test_custom_rules_stay_unless_they_are_opened(name):
    jaxpr = jax.make_jaxpr(program(name))(X)

    def gradient(opens):
        return jax.grad(lambda x: rewrite(jaxpr, [x], lambda e, v: None, opens)[0].sum())(X)

    assert_close(gradient(lambda e: False), jnp.full(4, 7.0))
    assert_close(gradient(lambda e: True), jnp.cos(X))


@pytest.mark.parametrize("name", ["jit", "remat", "scan", "switch", "platforms", "vmap"])
def test_gradients_of_what_is_opened(name):
    f = program(name)
    jaxpr = jax.make_jaxpr(f)(X)

    def same(x):
        return rewrite(jaxpr, [x], lambda e, v: None, lambda e: True)[0]

    @jax.jit
    def both(x):
        return [jnp.stack([jax.jacrev(g)(x), jax.jacfwd(g)(x)]) for g in (same, f)]

    assert_close(*both(X))


def test_remat_stays_remat():
    def f(x):
        return jnp.sin(checkpoint_name(jnp.sin(x), "kept"))

    policy = jax.checkpoint_policies.save_only_these_names("kept")
    jaxpr = jax.make_jaxpr(jax.checkpoint(f, policy=policy))(X)

    def again(x):
        return rewrite(jaxpr, [x], lambda e, v: None, lambda e: True)[0]

    (equation,) = jax.make_jaxpr(again)(X).eqns
    (original,) = jaxpr.eqns
    assert equation.primitive is original.primitive
    assert equation.params["policy"] is policy
    assert equation.params["prevent_cse"] == original.params["prevent_cse"]


def test_platforms_stay_platforms():
    jaxpr = jax.make_jaxpr(program("platforms"))(X)
    again = jax.make_jaxpr(lambda x: rewrite(jaxpr, [x], lambda e, v: None, lambda e: True))(X)
    before, after = (j.eqns[-1].params["branches_platforms"] for j in (jaxpr, again))
    assert before == after == (("cpu",), None)


def test_values_keep_their_identity_through_calls():
    jaxpr = jax.make_jaxpr(jax.jit(lambda x: jax.jit(jnp.tanh)(x) + x))(X)
    seen = {}

    def rule(equation, values):
        seen[equation.primitive.name] = values

    rewrite(jaxpr, [X], rule, lambda e: False)
    assert seen["tanh"][0] is X
    assert seen["add"][1] is X


def test_unshared_equations_are_told_apart():
    square = jax.jit(lambda x: jnp.sin(x) ** 2)

    def f(x):
        turns = lax.scan(lambda h, _: (square(h), None), square(x) + square(x + 1), length=2)[0]
        return lax.cond(x[0] > 0, square, square, jax.checkpoint(square)(turns))

    jaxpr = jax.make_jaxpr(f)(X)

    def equations(jaxpr):
        for equation in jaxpr.eqns:
            yield equation
            for inner in inner_jaxprs(equation):
                yield from equations(getattr(inner, "jaxpr", inner))

    before, after = list(equations(jaxpr)), list(equations(unshared(jaxpr)))
    assert [e.primitive for e in before] == [e.primitive for e in after]
    sines = [e for e in before if e.primitive.name == "sin"]
    assert len({id(e) for e in sines}) < len(sines) == 6  # JAX shares
    assert len({id(e) for e in after}) == len(after)
    (found,) = jax.core.eval_jaxpr(getattr(unshared(jaxpr), "jaxpr", jaxpr), jaxpr.consts, X)
    assert_close(found, f(X))


def test_a_rule_may_count_on_each_call_by_itself():
    """Of two calls of one function, only the second is changed."""
    call = jax.jit(jnp.sin)
    jaxpr = unshared(jax.make_jaxpr(lambda x: call(x) + 10 * call(x))(X))
    sines = [inner.eqns[0] for e in jaxpr.eqns for inner in inner_jaxprs(e)]

    def rule(equation, values):
        return [jnp.zeros(4)] if equation is sines[1] else None

    (found,) = rewrite(jaxpr, [X], rule, lambda e: False)
    assert_close(found, jnp.sin(X))
    assert evaluate(sines[0], X)[0].shape == (4,)
