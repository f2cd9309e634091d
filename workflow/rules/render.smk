# Scores and the author's texts become a page, in results/.


rule render:
    input:
        scores=rules.score.output,
        author=lambda wildcards: paths.author_files(PROJECT, wildcards.hypothesis),
        code=paths.CODE["render"],
    output:
        f"{ROWS}/{{hypothesis}}/report/FINDINGS.md",
    run:
        jobs.render(WORKERS, wildcards.hypothesis)


rule render_errata:
    input:
        data=paths.errata_inputs(PROJECT),
        code=paths.CODE["errata"],
    output:
        "results/project/errata.md",
    run:
        jobs.render_errata(WORKERS, output[0])


rule render_index:
    input:
        verdicts=[paths.verdict_path(PROJECT, hypothesis) for hypothesis in PROJECT.names],
        code=paths.CODE["index"],
    output:
        "results/project/README.md",
    run:
        jobs.render_index(PROJECT, list(input.verdicts), output[0])
