"""Upload attacks: what is done to models. Every module here registers what it defines."""
