# Only these rules write into reports/, and nothing made with measured tables is published.

for hypothesis in PROJECT.names if PROJECT.tables_folder is None else ():

    rule:
        name:
            f"{paths.PUBLISH_RULE}{hypothesis}"
        input:
            f"results/{hypothesis}/report/FINDINGS.md",
        output:
            [
                (
                    report(
                        path, caption=f"../report/{shown}.rst", category=hypothesis, labels={shown: Path(path).stem}
                    )
                    if (shown := targets.shown_as(path))
                    else path
                )
                for path in paths.report_paths(PROJECT, hypothesis)
            ],
        log:
            f"{LOGS}/publish/{hypothesis}.log",
        localrule: True
        run:
            jobs.publish(PROJECT, Path(output[0]).parent.name, log=log[0])


for page, file in paths.pages(PROJECT).items():

    rule:
        name:
            page
        input:
            f"results/project/{file}",
        output:
            f"reports/{file}",
        log:
            f"{LOGS}/{page}.log",
        localrule: True
        run:
            jobs.publish_page(input[0], output[0], log=log[0])


if paths.compared_paths(PROJECT, paths.REPORTS):

    rule simulators:
        input:
            paths.compared_paths(PROJECT, paths.REGENERATED_PAGES),
        output:
            paths.compared_paths(PROJECT, paths.REPORTS),
        log:
            f"{LOGS}/simulators.log",
        localrule: True
        run:
            jobs.simulators(log=log[0])


# No output on purpose: made in a second, it is made whenever it is asked for, also where somebody has edited the page.
rule trust:
    log:
        f"{LOGS}/trust.log",
    localrule: True
    run:
        jobs.trust(PROJECT, log=log[0])


# No output on purpose, as above: made of what is committed, in seconds, and not committed itself.
rule site:
    log:
        f"{LOGS}/site.log",
    localrule: True
    run:
        jobs.site(PROJECT, log=log[0])
