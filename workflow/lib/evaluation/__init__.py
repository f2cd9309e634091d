"""`python -m workflow evaluate`: a calibration judged on a folder of experiments nobody here has seen."""
