# One job per (hypothesis, method, arm, experiment).
# Snakemake's code trigger does not see imported modules, and its params trigger imports pandas: sources and
# resolved arms are therefore inputs, as files that change only when their content does (see pipeline.record_inputs).


rule simulate:
    input:
        code=lambda wildcards: pipeline.CODE[sweep_jobs.stage_of(PROJECT, wildcards)],
        arm="results/{hypothesis}/arms/{method}/{arm}.json",
        sweep=lambda wildcards: sweep_jobs.sweep_paths_of(PROJECT, wildcards),
        data=lambda wildcards: pipeline.run_inputs(PROJECT, wildcards),
    output:
        "results/{hypothesis}/runs/{method}/{arm}/{experiment}.jsonl",
    run:
        sweep_jobs.simulate_job(PROJECT, wildcards, list(input.sweep), output[0])
