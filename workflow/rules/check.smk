# No output on purpose: a check always runs. It depends on the regenerated pages alone, never on reports/, or Snakemake
# would rewrite what is to be judged; and on nothing where their content is known to be up to date.


rule check:
    input:
        [] if FRESHNESS.regenerated() else paths.regenerated_pages(PROJECT),
    log:
        f"{LOGS}/check.log",
    localrule: True
    run:
        jobs.check(PROJECT, log=log[0])
