"""The nouns: frozen records without I/O, clock or randomness.

Read `snapshot.py` (everything a decision may look at) and `actions.py` (everything that can be decided) first.
"""
