"""Work that starts by itself: at a time, for a message, a file or a webhook. Agents and flows are what is started."""
