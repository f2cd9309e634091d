# Pages about the whole project: the errata of the published findings and the index of all hypotheses.


rule regenerate_errata:
    input:
        data=project_pages.errata_inputs(PROJECT),
        simulator=pipeline.SIMULATOR_HASHES,
        laboratory=pipeline.LABORATORY_HASHES,
    output:
        "results/project/errata.md",
    run:
        pipeline.errata_job(PROJECT, output[0])


rule regenerate_index:
    input:
        verdicts=pipeline.verdict_paths(PROJECT),
        laboratory=pipeline.LABORATORY_HASHES,
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
