"""How far a prediction may be trusted: what was held out, how far a run is from it, and intervals from both."""

# How the table of held-out predictions beside a calibration is called behind its name.
ENDING = ".held_out.csv"
