"""Statistics over runs, without a picture or a sentence."""
