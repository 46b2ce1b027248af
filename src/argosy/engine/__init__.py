"""The leader's loop: fold store events, decide (`planner.py`, pure), commit."""
