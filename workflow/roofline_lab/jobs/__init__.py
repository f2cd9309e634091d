"""What the rules of the Snakefile call: one function per rule."""
