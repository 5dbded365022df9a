"""Local generators: small networks that make labelled synthetic images on an ordinary machine."""
