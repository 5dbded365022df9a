"""What ``fedcrucible doctor`` looks at, one module per kind of thing; every check returns findings, none raises."""

from fedcrucible.health.finding import Finding, Status

__all__ = ["Finding", "Status"]
