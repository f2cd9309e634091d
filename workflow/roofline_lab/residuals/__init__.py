"""Residual analysis: where errors sit, and which single further term would remove most of them.

Contract: `build.residual_of` makes one `Residual` per load point from occupancy, means and the model's options;
`ranking.ranked_terms` returns every candidate term with its constant, best on unseen model families first. Pure:
nothing here reads or writes a file.
"""
