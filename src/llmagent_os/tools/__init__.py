"""Tools: what agents may do to the world. A tool is a Python function with type hints; see `toolkit`."""
