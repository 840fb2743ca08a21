"""Agents: what they are (`spec`), how they answer (`loop`), and how many of them run (`manager`)."""
