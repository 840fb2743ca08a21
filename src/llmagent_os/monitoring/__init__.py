"""Readers of the journal: metrics and replay."""
