# Pages about the whole project: the errata of the published findings and the index of all hypotheses.


rule regenerate_errata:
    input:
        data=project_pages.errata_inputs(PROJECT),
        code=pipeline.CODE["errata"],
    output:
        "results/project/errata.md",
    run:
        pipeline.errata_job(PROJECT, output[0])


rule regenerate_index:
    input:
        verdicts=pipeline.verdict_paths(PROJECT),
        code=pipeline.CODE["index"],
    output:
        "results/project/README.md",
    run:
        project_pages.index_job(PROJECT, list(input.verdicts), output[0])


for page, file in project_pages.PAGES.items():

    rule:
        name:
            page
        input:
            f"results/project/{file}",
        output:
            f"reports/{file}",
        run:
            project_pages.publish_job(input[0], output[0])
