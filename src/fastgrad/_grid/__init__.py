"""How derivatives of sampled fields are read, planned and run."""
