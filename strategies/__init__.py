"""Systems under test and the round loop that runs them on Flower."""
