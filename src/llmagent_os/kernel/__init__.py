"""The door and what stands behind it: syscalls, processes, scheduler, mailbox, supervisor, journal."""
