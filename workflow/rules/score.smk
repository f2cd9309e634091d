# Rows become errors or columns, numbers and a verdict.


rule score:
    input:
        rows=lambda wildcards: paths.row_paths(PROJECT, wildcards.hypothesis),
        swept=lambda wildcards: paths.sweep_paths(PROJECT, wildcards.hypothesis),
        judged_by=f"{ROWS}/{{hypothesis}}/{paths.JUDGED_BY}",
        code=paths.CODE["score"],
    output:
        [f"{ROWS}/{{hypothesis}}/{name}" for name in paths.SCORES],
    log:
        f"{LOGS}/score/{{hypothesis}}.log",
    group:
        "finding"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        jobs.score(WORKERS, wildcards.hypothesis, log=log[0])
