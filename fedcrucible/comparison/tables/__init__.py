"""What came of a matrix: one frame of numbers, and every table made from it."""
