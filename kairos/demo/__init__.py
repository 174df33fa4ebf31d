"""Real shopping data through the real path, and an honest report of what came of it."""
