"""Records and ports: the words every room speaks. Imports nothing of ours."""
