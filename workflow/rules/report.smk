# Scores, then pages; regenerated pages go to results/, only the rule `report` writes into reports/.


rule score:
    input:
        runs=lambda wildcards: pipeline.run_paths(PROJECT, wildcards.hypothesis),
        sweep=lambda wildcards: sweep_jobs.sweep_paths(PROJECT, wildcards.hypothesis),
        judged_by=lambda wildcards: pipeline.judging_files(PROJECT, wildcards.hypothesis),
        code=pipeline.CODE["score"],
    output:
        "results/{hypothesis}/errors.csv",
        "results/{hypothesis}/numbers.csv",
        "results/{hypothesis}/verdict.json",
    wildcard_constraints:
        hypothesis=pipeline.one_of(PROJECT.hypotheses),
    run:
        pipeline.score_job(PROJECT, wildcards.hypothesis)


rule render:
    input:
        scores=rules.score.output,
        author=lambda wildcards: pipeline.author_files(PROJECT, wildcards.hypothesis),
        code=pipeline.CODE["render"],
    output:
        "results/{hypothesis}/report/FINDINGS.md",
    wildcard_constraints:
        hypothesis=pipeline.one_of(PROJECT.hypotheses),
    run:
        pipeline.render_job(PROJECT, wildcards.hypothesis)


for hypothesis in PROJECT.names if PROJECT.tables_folder is None else ():

    rule:
        name:
            f"{pipeline.REPORT_RULE}{hypothesis}"
        input:
            f"results/{hypothesis}/report/FINDINGS.md",
        output:
            pipeline.report_paths(PROJECT, hypothesis),
        run:
            pipeline.report_job(PROJECT, Path(output[0]).parent.name)
