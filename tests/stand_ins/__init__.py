"""Real local servers that speak the wire protocols of remote models, backed by the scripted engine."""
