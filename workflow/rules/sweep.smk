# One job per (sweep, experiment) and stage. Only train experiments are searched; the rule `simulate` then runs the
# swept arm with the chosen value, for every experiment.


rule sweep:
    input:
        code=pipeline.CODE["sweep"],
        arm=lambda wildcards: sweep_jobs.swept_arm_file(PROJECT, wildcards),
        earlier=lambda wildcards: sweep_jobs.earlier_sweep_paths(PROJECT, wildcards),
        data=lambda wildcards: pipeline.run_inputs(PROJECT, wildcards),
    output:
        "results/{hypothesis}/sweep/{method}/{stage}/{experiment}.jsonl",
    run:
        sweep_jobs.sweep_job(PROJECT, wildcards, list(input.earlier), output[0])
