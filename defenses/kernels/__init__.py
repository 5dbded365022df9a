"""Tensor functions of defences; they know nothing of clients, rounds or configuration.

A kernel is named by what it computes, not by the rule that needs it: each states a known problem (clusters on a line,
the best split into two groups, density clusters, a spent privacy budget, a certified radius), is tested against a slow
reference or a library by itself, and stands here with one user as it would with several.  What depends on updates,
clients' ids or the state of a rule lies in ``defenses/support`` or beside the rule.
"""
