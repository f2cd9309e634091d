# One job per stage of all sweeps of a hypothesis. Only experiments that choose are searched; the rule `predict` then runs
# every swept arm with the chosen values, for every experiment.


rule sweep:
    input:
        arms=lambda wildcards: paths.swept_arm_paths(PROJECT, wildcards),
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
