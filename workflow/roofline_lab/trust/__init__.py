"""How far a prediction may be trusted: what was held out, how far a deployment is from it, and intervals from both."""
