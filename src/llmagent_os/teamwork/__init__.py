"""Working together: boards that agents of a run, a person or a tenant share, and topics that they publish to."""
