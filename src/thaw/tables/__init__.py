"""From tables to sorted, encoded arrays: reading, typing, splitting, counting, writing."""
