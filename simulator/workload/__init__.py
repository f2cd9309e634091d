"""Which requests arrive when, how long they are, and what they share; start at `build`."""
