"""Who is who: the cluster's certificate authority, certificates, and tokens. Knows no store and no network."""
