"""The laboratory: hypotheses, ground truth, scoring, verdicts and reports."""
