"""A Flower app in scikit-learn: logistic regression, sent as a list of numpy arrays."""
