"""What was written down, and when: the hash-chained ledger, the run folders, and their verifier."""
