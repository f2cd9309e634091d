# Regenerated pages go to results/; only the rule `report` writes into reports/.


rule render:
    input:
        runs=lambda wildcards: pipeline.run_paths(LAB, wildcards.hypothesis),
        author=lambda wildcards: pipeline.author_files(LAB, wildcards.hypothesis),
        sources=pipeline.laboratory_sources(LAB),
    output:
        "results/{hypothesis}/report/FINDINGS.md",
    run:
        pipeline.render_job(LAB, wildcards.hypothesis)


for hypothesis in LAB.hypotheses:

    rule:
        name:
            f"report_{hypothesis}"
        input:
            f"results/{hypothesis}/report/FINDINGS.md",
        output:
            pipeline.report_paths(LAB, hypothesis),
        params:
            hypothesis=hypothesis,
        run:
            pipeline.report_job(LAB, params.hypothesis)
