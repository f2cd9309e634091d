"""How long one engine step takes: interchangeable models behind `price` and `explain`."""
