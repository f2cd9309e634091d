"""Laboratory and pipeline; import from `workflow.lib`, never `workflow` itself (Snakemake owns that name)."""
