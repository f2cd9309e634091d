# Synthetic hypotheses: one job per (hypothesis, kernels, arm), then scores, then the page; the rule that publishes a
# page stands in report.smk. With a folder of measured tables everything goes to results/measured/.

ROWS = str(pipeline.synthetic.results_folder(PROJECT))
SYNTHETIC = pipeline.one_of(PROJECT.synthetic)


rule evaluate:
    input:
        code=pipeline.CODE["price"],
        arm=f"{ROWS}/{{hypothesis}}/arms/{{method}}/{{arm}}.json",
        data=lambda wildcards: pipeline.synthetic_inputs(PROJECT, wildcards.hypothesis),
    output:
        f"{ROWS}/{{hypothesis}}/rows/{{method}}/{{arm}}.jsonl",
    wildcard_constraints:
        hypothesis=SYNTHETIC,
    run:
        pipeline.evaluate_job(PROJECT, wildcards, output[0])


rule score_rows:
    input:
        rows=lambda wildcards: pipeline.synthetic.row_paths(PROJECT, wildcards.hypothesis),
        judged_by=lambda wildcards: pipeline.judging_files(PROJECT, wildcards.hypothesis),
        code=pipeline.CODE["score"],
    output:
        f"{ROWS}/{{hypothesis}}/rows.csv",
        f"{ROWS}/{{hypothesis}}/numbers.csv",
        f"{ROWS}/{{hypothesis}}/verdict.json",
    wildcard_constraints:
        hypothesis=SYNTHETIC,
    run:
        pipeline.score_rows_job(PROJECT, wildcards.hypothesis)


rule render_rows:
    input:
        scores=rules.score_rows.output,
        author=lambda wildcards: pipeline.author_files(PROJECT, wildcards.hypothesis),
        code=pipeline.CODE["render"],
    output:
        f"{ROWS}/{{hypothesis}}/report/FINDINGS.md",
    wildcard_constraints:
        hypothesis=SYNTHETIC,
    run:
        pipeline.render_rows_job(PROJECT, wildcards.hypothesis)
