"""What tests share: small tasks, layouts, runs, hostile replies."""
