"""Pure: which machine runs a unit, and why."""
