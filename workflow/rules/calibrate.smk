# Constants of the physical model from measured means. Not part of `all`: it takes minutes, and its committed
# results are what everything else uses.


rule calibrate:
    input:
        calibration_files.all_published(PROJECT.root),


rule calibrate_fleet:
    run:
        calibration.calibrate_fleet(WORKERS)


rule calibration_surface:
    input:
        lambda wildcards: calibration_files.experiment_record(PROJECT.root, wildcards.experiment),
        lambda wildcards: calibration_files.shared_record(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_surface"],
    output:
        "results/calibration/{name}/surfaces/{experiment}.json",
    run:
        calibration.calibration_surface(WORKERS, wildcards.name, wildcards.experiment, output[0])


rule calibration_fit:
    input:
        surfaces=lambda wildcards: calibration_files.surface_paths(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/fit.json",
    run:
        calibration.calibration_fit(WORKERS, wildcards.name, input.surfaces, output[0])


rule calibration_judgement:
    input:
        lambda wildcards: calibration_files.experiment_record(PROJECT.root, wildcards.experiment),
        fit="results/calibration/{name}/fit.json",
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/judged/{experiment}.json",
    run:
        calibration.calibration_judgement(WORKERS, wildcards.name, wildcards.experiment, input.fit, output[0])


rule calibration_waiting_surface:
    input:
        lambda wildcards: calibration_files.experiment_record(PROJECT.root, wildcards.experiment),
        lambda wildcards: calibration_files.shared_record(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_surface"],
    output:
        "results/calibration/{name}/waiting/{experiment}.json",
    run:
        calibration.calibration_waiting_surface(WORKERS, wildcards.name, wildcards.experiment, output[0])


rule calibration_subsets:
    input:
        surfaces=lambda wildcards: calibration_files.surface_paths(PROJECT.root, wildcards.name),
        waiting=lambda wildcards: calibration_files.waiting_paths(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/terms/{ahead,ahead|waiting}.json",
    run:
        calibration.calibration_subsets(
            WORKERS, wildcards.name, wildcards.ahead, input.surfaces, input.waiting, output[0]
        )


rule calibration_chain:
    input:
        surfaces=lambda wildcards: calibration_files.surface_paths(PROJECT.root, wildcards.name),
        waiting=lambda wildcards: calibration_files.waiting_paths(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/terms/chain.json",
    run:
        calibration.calibration_chain(WORKERS, wildcards.name, input.surfaces, input.waiting, output[0])


for name in calibration_names(PROJECT.root):

    rule:
        name:
            f"calibration_record_{name}"
        input:
            calibration_files.published_paths(name),
            calibration_files.held_out_path(name),
            calibration_files.terms_paths(name),
        output:
            calibration_files.record_path(name),
        run:
            calibration.calibration_record(PROJECT, Path(output[0]).parent.name)

    rule:
        name:
            f"calibration_report_{name}"
        input:
            fit=f"results/calibration/{name}/fit.json",
            judged=lambda wildcards, name=name: calibration_files.judged_paths(PROJECT.root, name),
            code=paths.CODE["calibration_page"],
            discussion=lambda wildcards, name=name: calibration_files.discussion_record(PROJECT.root, name),
        output:
            calibration_files.published_paths(name),
        run:
            calibration.calibration_report(PROJECT.root, output[0], input.fit, input.judged)

    rule:
        name:
            f"calibration_held_out_{name}"
        input:
            constants=f"configs/calibration/{name}.yaml",
            code=paths.CODE["calibration_held_out"],
        output:
            calibration_files.held_out_path(name),
        run:
            calibration.calibration_held_out(WORKERS, Path(input.constants).stem, output[0])

    rule:
        name:
            f"calibration_terms_{name}"
        input:
            chain=f"results/calibration/{name}/terms/chain.json",
            subsets=[f"results/calibration/{name}/terms/{one}.json" for one in ("ahead", "waiting")],
            code=paths.CODE["calibration_page"],
            discussion=lambda wildcards, name=name: calibration_files.terms_discussion_record(PROJECT.root, name),
        output:
            calibration_files.terms_paths(name),
        run:
            calibration.calibration_terms(PROJECT.root, Path(output[0]).parent.name, input.chain, input.subsets)
