"""How long one GPU kernel takes: measured tables, fitted curves, and the audit of both."""
