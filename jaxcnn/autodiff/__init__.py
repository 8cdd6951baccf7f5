"""Derivatives of any JAX function: checked, compared, counted, traced, drawn.

- `checks`: numerical derivatives, and gradients checked against them
- `costs`: FLOPs, forward against reverse mode, forward gradients, products with the Hessian
- `traces`: evaluation, derivative and adjoint traces; formulas
- `graphs`, `drawing`: the computational graph, and how graphs are drawn
- `symbols`: SymPy expressions of a function
"""

from jaxcnn.autodiff.checks.checking import check_gradients
from jaxcnn.autodiff.checks.numerical import numerical_gradient, numerical_jacobian
from jaxcnn.autodiff.checks.reports import GradientReport
from jaxcnn.autodiff.costs.comparison import ModeComparison, ModeCost
from jaxcnn.autodiff.costs.estimators import forward_gradient
from jaxcnn.autodiff.costs.flops import Flops, count_flops
from jaxcnn.autodiff.costs.modes import compare_modes, jacobian
from jaxcnn.autodiff.costs.products import hessian_vector_product
from jaxcnn.autodiff.graphs.computational import Graph, graph
from jaxcnn.autodiff.symbols.expressions import SymbolicFunction, symbolic
from jaxcnn.autodiff.traces.parsing import FormulaError, formula_function, parse_value
from jaxcnn.autodiff.traces.tables import Trace, trace

__all__ = [
    "Flops",
    "FormulaError",
    "GradientReport",
    "Graph",
    "ModeComparison",
    "ModeCost",
    "SymbolicFunction",
    "Trace",
    "check_gradients",
    "compare_modes",
    "count_flops",
    "formula_function",
    "forward_gradient",
    "graph",
    "hessian_vector_product",
    "jacobian",
    "numerical_gradient",
    "numerical_jacobian",
    "parse_value",
    "symbolic",
    "trace",
]
