# Scores, then pages; regenerated pages go to results/, only the rule `report` writes into reports/.


rule score:
    input:
        runs=lambda wildcards: pipeline.run_paths(LAB, wildcards.hypothesis),
        sweep=lambda wildcards: sweep_jobs.sweep_paths(LAB, wildcards.hypothesis),
        judged_by=lambda wildcards: pipeline.judging_files(LAB, wildcards.hypothesis),
        laboratory=pipeline.LABORATORY_HASHES,
    output:
        "results/{hypothesis}/errors.csv",
        "results/{hypothesis}/numbers.csv",
        "results/{hypothesis}/verdict.json",
    wildcard_constraints:
        hypothesis=pipeline.one_of(LAB.hypotheses),
    run:
        pipeline.score_job(LAB, wildcards.hypothesis)


rule render:
    input:
        scores=rules.score.output,
        author=lambda wildcards: pipeline.author_files(LAB, wildcards.hypothesis),
        laboratory=pipeline.LABORATORY_HASHES,
    output:
        "results/{hypothesis}/report/FINDINGS.md",
    wildcard_constraints:
        hypothesis=pipeline.one_of(LAB.hypotheses),
    run:
        pipeline.render_job(LAB, wildcards.hypothesis)


for hypothesis in LAB.names if LAB.tables_folder is None else ():

    rule:
        name:
            f"{pipeline.REPORT_RULE}{hypothesis}"
        input:
            f"results/{hypothesis}/report/FINDINGS.md",
        output:
            pipeline.report_paths(LAB, hypothesis),
        run:
            pipeline.report_job(LAB, Path(output[0]).parent.name)
