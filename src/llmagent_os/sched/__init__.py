"""Who gets an engine: policies and accounts, places and context pages, the learned limit, and the choice of a model."""
