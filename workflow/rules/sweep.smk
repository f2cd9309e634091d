# One job per stage of a sweep. Only train experiments are searched; the rule `predict` then runs the swept arm with the
# chosen value, for every experiment.


rule sweep:
    input:
        arm=lambda wildcards: paths.swept_arm_path(PROJECT, wildcards),
        code=paths.CODE["sweep"],
        earlier=lambda wildcards: paths.earlier_paths(PROJECT, wildcards),
    output:
        update("results/{hypothesis}/sweep/{method}/{stage}.jsonl"),
    log:
        f"{LOGS}/sweep/{{hypothesis}}/{{method}}/{{stage}}.log",
    group:
        "finding"
    resources:
        mem_mb=1000,
        runtime=20,
    run:
        jobs.sweep(WORKERS, wildcards, input.code, list(input.earlier), output[0], log=log[0])
