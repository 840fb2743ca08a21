"""Durable rows: one file a database, all behind the `Store` port."""
