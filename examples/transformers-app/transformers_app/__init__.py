"""A Flower app with a transformers text classifier: all of its weights travel, or an adapter's alone."""
