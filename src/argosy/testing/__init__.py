"""A whole cluster in one process on virtual time, with faults by seed. Shipped, for users' own tests too."""
