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
        sources=calibration.SURFACE_SOURCES,
    output:
        "results/calibration/{name}/surfaces/{experiment}.json",
    run:
        calibration.surface_job(LAB.root, wildcards.name, wildcards.experiment, output[0])


rule calibration_fit:
    input:
        surfaces=lambda wildcards: calibration.surface_paths(LAB.root, wildcards.name),
        sources=calibration.SOURCES,
    output:
        "results/calibration/{name}/fit.json",
    run:
        calibration.fit_job(LAB.root, wildcards.name, input.surfaces, output[0])


rule calibration_judgement:
    input:
        lambda wildcards: calibration.experiment_files(LAB.root, wildcards.experiment),
        fit="results/calibration/{name}/fit.json",
    output:
        "results/calibration/{name}/judged/{experiment}.json",
    run:
        calibration.judge_job(LAB.root, wildcards.name, wildcards.experiment, input.fit, output[0])


rule calibration_waiting_surface:
    input:
        lambda wildcards: calibration.experiment_files(LAB.root, wildcards.experiment),
        lambda wildcards: calibration.shared_files(LAB.root, wildcards.name),
        sources=calibration.SURFACE_SOURCES,
    output:
        "results/calibration/{name}/waiting/{experiment}.json",
    run:
        calibration.waiting_surface_job(LAB.root, wildcards.name, wildcards.experiment, output[0])


rule calibration_subsets:
    input:
        surfaces=lambda wildcards: calibration.surface_paths(LAB.root, wildcards.name),
        waiting=lambda wildcards: calibration.waiting_paths(LAB.root, wildcards.name),
        sources=calibration.SOURCES,
    output:
        "results/calibration/{name}/terms/{ahead,ahead|waiting}.json",
    run:
        calibration.subsets_job(LAB.root, wildcards.name, wildcards.ahead, input.surfaces, input.waiting, output[0])


rule calibration_chain:
    input:
        surfaces=lambda wildcards: calibration.surface_paths(LAB.root, wildcards.name),
        waiting=lambda wildcards: calibration.waiting_paths(LAB.root, wildcards.name),
        sources=calibration.SOURCES,
    output:
        "results/calibration/{name}/terms/chain.json",
    run:
        calibration.chain_job(LAB.root, wildcards.name, input.surfaces, input.waiting, output[0])


for name in calibration_names(LAB.root):

    rule:
        name:
            f"calibration_report_{name}"
        input:
            fit=f"results/calibration/{name}/fit.json",
            judged=lambda wildcards, name=name: calibration.judged_paths(LAB.root, name),
            sources=calibration.PAGE_SOURCES,
            template="workflow/templates/calibration.md.j2",
            discussion=calibration.discussion(LAB.root, name),
        output:
            calibration.published_paths(name),
        run:
            calibration.publish_job(LAB.root, output[0], input.fit, input.judged)

    rule:
        name:
            f"calibration_terms_{name}"
        input:
            chain=f"results/calibration/{name}/terms/chain.json",
            subsets=[f"results/calibration/{name}/terms/{one}.json" for one in ("ahead", "waiting")],
            sources=calibration.PAGE_SOURCES,
            template="workflow/templates/calibration_terms.md.j2",
            discussion=calibration.terms_discussion(LAB.root, name),
        output:
            calibration.terms_paths(name),
        run:
            calibration.publish_terms_job(LAB.root, Path(output[0]).parent.name, input.chain, input.subsets)
