"""From a goal to steps, to agents that do them, to an answer; and what is done when a step fails."""
