"""What `fastgrad.finite` is made of: steps, calls, schemes, extrapolation, sparsity, results."""
