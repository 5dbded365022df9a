"""Which runs a matrix has, checked and estimated before any of them starts."""
