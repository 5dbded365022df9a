"""After an incident: which site sent what, who looks guilty since when, and what the model is without them."""
