"""Builds what the machines of the tests boot from, so that no test has to wait for it: `make test` runs this first.

    PYTHONPATH=tests .venv/bin/python -m machines

Also deletes what killed tests left.
"""

from __future__ import annotations

import os

from machines import claims, installation, root


def main() -> None:
    if os.geteuid() != 0:
        print("Tests on machines are left out: they need root. To run them: sudo make test")
        return
    claims.sweep()
    base = root.base()
    for layer in (base, root.docker(base), *installation.layers(base)):
        print(layer)


if __name__ == "__main__":
    main()
