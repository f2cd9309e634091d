"""How long one engine step takes: interchangeable models behind `step_time_us` and `explain`."""
