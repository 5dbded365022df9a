"""A run's folder: what is written while it runs, and how it is read back.

Import from the modules (``records.writer`` and so on): reading a record must not cost an import of torch.
"""
