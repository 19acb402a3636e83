"""Dense networks: what their layers and losses are made of, and how they are trained."""
