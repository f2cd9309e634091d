# One job per (hypothesis, method, arm, experiment).
# Snakemake's code trigger does not see imported modules, so the simulator's sources are inputs.


rule simulate:
    input:
        sources=pipeline.simulator_sources(LAB),
        data=lambda wildcards: pipeline.run_inputs(LAB, wildcards),
    output:
        "results/{hypothesis}/runs/{method}/{arm}/{experiment}.jsonl",
    params:
        configuration=lambda wildcards: pipeline.run_digest(LAB, wildcards),
    run:
        pipeline.simulate_job(LAB, wildcards, output[0])
