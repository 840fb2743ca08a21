"""Flows: teams of agents, tools, functions and people as graphs that are checked, survive, and can be watched."""
