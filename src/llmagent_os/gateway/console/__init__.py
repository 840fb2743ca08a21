"""The commands, a file a group. `gateway.cli` imports each when it is called."""
