"""The ServerApp: configuration in, strategy built, run recorded."""
