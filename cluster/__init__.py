"""How jobs reach machines: cluster files, submission, and a cluster on this machine."""
