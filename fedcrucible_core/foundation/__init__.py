"""The guide (CLIP and kin) and the sources of the server's synthetic images.

The sources register themselves when ``base.SOURCES`` is first asked; models and network clients are imported only when
one is used.
"""
