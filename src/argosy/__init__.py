"""Argosy runs systemd units and containers over a fleet of Linux machines."""

__version__ = "0.1.0"
