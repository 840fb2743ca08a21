"""Models behind one interface: the `LLM` facade, the catalog, and a driver for each engine."""
