"""Derivatives looked at: numerical, symbolic, forward and reverse; traces, graphs and costs."""
