# No output on purpose: a check always runs. It depends on the regenerated pages alone, never on
# reports/, or Snakemake would rewrite what is to be judged.


rule check:
    input:
        pipeline.regenerated_pages(PROJECT),
    run:
        pipeline.check_job(PROJECT)
