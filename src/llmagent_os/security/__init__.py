"""Security: what happens at the door around every call, so that an agent cannot be made to do what it must not."""
