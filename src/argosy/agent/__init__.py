"""A machine's loop: observe, plan (`planner.py`, pure), act, report."""
