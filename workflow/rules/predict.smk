# One job per (hypothesis, method, arm): all experiments of a measured hypothesis, all points of a synthetic one.
# Snakemake's code trigger does not see imported modules, and its params trigger imports pandas: what an arm's rows are
# made from is written to two files that change only when their content does (see paths.record_inputs). A job keeps
# those rows of its output that are still right, so Snakemake must not remove it first.


rule predict:
    input:
        arm=f"{ROWS}/{{hypothesis}}/arms/{{method}}/{{arm}}.json",
        code=lambda wildcards: paths.code_of_arm(PROJECT, wildcards),
        swept=lambda wildcards: paths.choosing_paths(PROJECT, wildcards),
        answers=lambda wildcards: paths.answer_paths(PROJECT, wildcards),
    output:
        update(f"{ROWS}/{{hypothesis}}/rows/{{method}}/{{arm}}.jsonl"),
    log:
        f"{LOGS}/predict/{{hypothesis}}/{{method}}/{{arm}}.log",
    group:
        "finding"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        jobs.predict(WORKERS, wildcards, input.code, list(input.swept), output[0], log=log[0])
