"""Promises that every rule, purifier, repair and splitter keeps, as checks for anyone's own tests.

``check_rule(MyRule())`` raises AssertionError that names the first promise which isn't kept. Nothing of a test runner
is imported, and the class need not be registered.
"""

from defenses.contracts.promises import Promise as Promise
from defenses.contracts.purifiers import PURIFIER_PROMISES as PURIFIER_PROMISES
from defenses.contracts.purifiers import check_purifier as check_purifier
from defenses.contracts.repairs import REPAIR_PROMISES as REPAIR_PROMISES
from defenses.contracts.repairs import check_repair as check_repair
from defenses.contracts.rules import RULE_PROMISES as RULE_PROMISES
from defenses.contracts.rules import check_rule as check_rule
from defenses.contracts.splitters import SPLITTER_PROMISES as SPLITTER_PROMISES
from defenses.contracts.splitters import check_splitter as check_splitter

__all__ = ["check_purifier", "check_repair", "check_rule", "check_splitter"]
