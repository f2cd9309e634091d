# Constants of the physical model from measured means. Not part of `all`: it takes minutes, and its committed
# results are what everything else uses.


rule calibrate:
    input:
        calibration_files.all_published(PROJECT.root),


rule calibrate_fleet:
    log:
        f"{LOGS}/calibrate_fleet.log",
    threads: 8
    resources:
        mem_mb=8000,
        runtime=120,
    run:
        calibration.calibrate_fleet(WORKERS, log=log[0])


rule calibration_surface:
    input:
        lambda wildcards: calibration_files.experiment_record(PROJECT.root, wildcards.experiment),
        lambda wildcards: calibration_files.shared_record(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_surface"],
    output:
        "results/calibration/{name}/surfaces/{experiment}.json",
    log:
        f"{LOGS}/calibration/{{name}}/surfaces/{{experiment}}.log",
    group:
        "surfaces"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        calibration.calibration_surface(WORKERS, wildcards.name, wildcards.experiment, output[0], log=log[0])


rule calibration_fit:
    input:
        surfaces=lambda wildcards: calibration_files.surface_paths(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/fit.json",
    log:
        f"{LOGS}/calibration/{{name}}/fit.log",
    group:
        "judgement"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        calibration.calibration_fit(WORKERS, wildcards.name, input.surfaces, output[0], log=log[0])


rule calibration_judgement:
    input:
        lambda wildcards: calibration_files.experiment_record(PROJECT.root, wildcards.experiment),
        fit="results/calibration/{name}/fit.json",
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/judged/{experiment}.json",
    log:
        f"{LOGS}/calibration/{{name}}/judged/{{experiment}}.log",
    group:
        "judgement"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        calibration.calibration_judgement(
            WORKERS, wildcards.name, wildcards.experiment, input.fit, output[0], log=log[0]
        )


rule calibration_waiting_surface:
    input:
        lambda wildcards: calibration_files.experiment_record(PROJECT.root, wildcards.experiment),
        lambda wildcards: calibration_files.shared_record(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_surface"],
    output:
        "results/calibration/{name}/waiting/{experiment}.json",
    log:
        f"{LOGS}/calibration/{{name}}/waiting/{{experiment}}.log",
    group:
        "surfaces"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        calibration.calibration_waiting_surface(WORKERS, wildcards.name, wildcards.experiment, output[0], log=log[0])


rule calibration_subsets:
    input:
        surfaces=lambda wildcards: calibration_files.surface_paths(PROJECT.root, wildcards.name),
        waiting=lambda wildcards: calibration_files.waiting_paths(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/terms/{ahead,ahead|waiting}.json",
    log:
        f"{LOGS}/calibration/{{name}}/terms/{{ahead}}.log",
    group:
        "terms"
    resources:
        mem_mb=1000,
        runtime=30,
    run:
        calibration.calibration_subsets(
            WORKERS, wildcards.name, wildcards.ahead, input.surfaces, input.waiting, output[0], log=log[0]
        )


rule calibration_chain:
    input:
        surfaces=lambda wildcards: calibration_files.surface_paths(PROJECT.root, wildcards.name),
        waiting=lambda wildcards: calibration_files.waiting_paths(PROJECT.root, wildcards.name),
        code=paths.CODE["calibration_fit"],
    output:
        "results/calibration/{name}/terms/chain.json",
    log:
        f"{LOGS}/calibration/{{name}}/terms/chain.log",
    group:
        "terms"
    resources:
        mem_mb=1000,
        runtime=10,
    run:
        calibration.calibration_chain(WORKERS, wildcards.name, input.surfaces, input.waiting, output[0], log=log[0])


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
        log:
            f"{LOGS}/calibration/{name}/record.log",
        localrule: True
        run:
            calibration.calibration_record(PROJECT, Path(output[0]).parent.name, log=log[0])

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
        log:
            f"{LOGS}/calibration/{name}/report.log",
        localrule: True
        run:
            calibration.calibration_report(PROJECT.root, output[0], input.fit, input.judged, log=log[0])

    rule:
        name:
            f"calibration_held_out_{name}"
        input:
            constants=f"configs/calibration/{name}.yaml",
            code=paths.CODE["calibration_held_out"],
        output:
            calibration_files.held_out_path(name),
        log:
            f"{LOGS}/calibration/{name}/held_out.log",
        group:
            "constants"
        resources:
            mem_mb=1000,
            runtime=10,
        run:
            calibration.calibration_held_out(WORKERS, Path(input.constants).stem, output[0], log=log[0])

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
        log:
            f"{LOGS}/calibration/{name}/terms.log",
        localrule: True
        run:
            calibration.calibration_terms(
                PROJECT.root, Path(output[0]).parent.name, input.chain, input.subsets, log=log[0]
            )
