"""Day one of a federation: a site asks, the server approves, and one file goes back; no key leaves its site."""
