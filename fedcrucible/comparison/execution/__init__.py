"""Running the cells of a matrix that are missing."""
