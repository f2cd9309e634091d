# Rows, scores and the author's texts become a page, in results/. Every file that is read is an input.


rule render:
    input:
        rows=lambda wildcards: paths.row_paths(PROJECT, wildcards.hypothesis),
        swept=lambda wildcards: paths.sweep_paths(PROJECT, wildcards.hypothesis),
        scores=rules.score.output,
        author=f"{ROWS}/{{hypothesis}}/{paths.WRITTEN}",
        code=paths.CODE["render"],
    output:
        f"{ROWS}/{{hypothesis}}/report/FINDINGS.md",
    log:
        f"{LOGS}/render/{{hypothesis}}.log",
    group:
        "finding"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        jobs.render(WORKERS, wildcards.hypothesis, log=log[0])


rule render_errata:
    input:
        data=paths.ERRATA_DATA,
        code=paths.CODE["errata"],
    output:
        "results/project/errata.md",
    log:
        f"{LOGS}/render_errata.log",
    localrule: True
    run:
        jobs.render_errata(WORKERS, output[0], log=log[0])


rule render_index:
    input:
        verdicts=[paths.verdict_path(PROJECT, hypothesis) for hypothesis in PROJECT.names],
        specs=paths.SPECS,
        code=paths.CODE["index"],
    output:
        "results/project/README.md",
    log:
        f"{LOGS}/render_index.log",
    localrule: True
    run:
        jobs.render_index(PROJECT, list(input.verdicts), output[0], log=log[0])


if paths.compared_rows(PROJECT):

    rule render_simulators:
        input:
            rows=paths.compared_rows(PROJECT),
            data=paths.COMPARED_DATA,
            judged_by=f"{ROWS}/{PROJECT.comparing}/{paths.JUDGED_BY}",
            code=paths.CODE["compared"],
        output:
            paths.compared_paths(PROJECT, paths.REGENERATED_PAGES),
        log:
            f"{LOGS}/render_simulators.log",
        localrule: True
        run:
            jobs.render_simulators(WORKERS, log=log[0])
