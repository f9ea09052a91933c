"""The blocking face: methods wait, and may be called from any thread."""
