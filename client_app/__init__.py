"""ClientApps: the benign one, the malicious one, and the app that routes between them by role."""
