"""Pages of `snakemake calibrate`."""
