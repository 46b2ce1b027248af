"""How the parts are put together: a server, an agent, or under `argosy up` both in one process."""
