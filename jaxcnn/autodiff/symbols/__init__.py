"""JAX functions as SymPy expressions."""
