# Rows become errors or columns, numbers and a verdict.


rule score:
    input:
        rows=lambda wildcards: paths.row_paths(PROJECT, wildcards.hypothesis),
        swept=lambda wildcards: paths.sweep_paths(PROJECT, wildcards.hypothesis),
        judged_by=lambda wildcards: paths.judging_files(PROJECT, wildcards.hypothesis),
        code=paths.CODE["score"],
    output:
        f"{ROWS}/{{hypothesis}}/rows.csv",
        f"{ROWS}/{{hypothesis}}/numbers.csv",
        f"{ROWS}/{{hypothesis}}/verdict.json",
    run:
        jobs.score(WORKERS, wildcards.hypothesis)
