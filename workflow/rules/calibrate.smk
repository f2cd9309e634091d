# Constants of the physical model from measured means. Not part of `all`: it takes minutes, and its committed
# results are what everything else uses.
calibration.record_sources(LAB.root)


rule calibrate:
    input:
        calibration.all_published(LAB.root),


rule calibration_surface:
    input:
        lambda wildcards: calibration.experiment_files(LAB.root, wildcards.experiment),
        lambda wildcards: calibration.shared_files(LAB.root, wildcards.name),
        sources=calibration.SOURCES_HASHES,
    output:
        "results/calibration/{name}/surfaces/{experiment}.json",
    run:
        from workflow.lib.calibration import jobs

        write_text(Path(output[0]), jobs.surface_job(LAB.root, wildcards.name, wildcards.experiment))


rule calibration_fit:
    input:
        surfaces=lambda wildcards: calibration.surface_paths(LAB.root, wildcards.name),
    output:
        "results/calibration/{name}/fit.json",
    run:
        from workflow.lib.calibration import jobs

        write_text(Path(output[0]), jobs.fit_job(LAB.root, wildcards.name, list(input.surfaces)))


rule calibration_judgement:
    input:
        lambda wildcards: calibration.experiment_files(LAB.root, wildcards.experiment),
        fit="results/calibration/{name}/fit.json",
    output:
        "results/calibration/{name}/judged/{experiment}.json",
    run:
        from workflow.lib.calibration import jobs

        write_text(Path(output[0]), jobs.judge_job(LAB.root, wildcards.name, wildcards.experiment, input.fit))


for name in calibration_names(LAB.root):

    rule:
        name:
            f"calibration_report_{name}"
        input:
            fit=f"results/calibration/{name}/fit.json",
            judged=calibration.judged_paths(LAB.root, name),
            template="workflow/templates/calibration.md.j2",
        output:
            calibration.published_paths(name),
        params:
            name=name,
        run:
            from workflow.lib.calibration.report import publish

            publish(LAB.root, params.name, input.fit, list(input.judged))
