"""The ReLUs of any function: how they are written, found, counted and given another derivative."""
