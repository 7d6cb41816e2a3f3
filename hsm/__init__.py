"""Keys, in software or on a token. Knows nothing of the agent."""
