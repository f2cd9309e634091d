"""The second kind of hypothesis: arms over generated step batches, no ground truth."""
