"""Tests; they mirror the tree. What several share lies in ``support``, slow and obvious forms in ``references``."""
