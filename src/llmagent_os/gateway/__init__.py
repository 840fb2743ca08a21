"""The system from outside: REST, OpenAI-compatible paths, and the command line."""
