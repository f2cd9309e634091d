"""How far a prediction may be trusted: how far it is from what was fitted to, and the interval known for that distance.

Contract: pure but for `load_intervals`. How intervals are made from measurements that were held out is no business of
a simulator; it reads what was made.
"""
