# Programs of others that predict for arms: one job per simulator asks what has no answer that stands. What it is asked
# follows from the arms that name it; answers that are committed count, so that a clone without the program asks nothing.


rule ask:
    input:
        arms=lambda wildcards: paths.asking_arm_paths(PROJECT, wildcards.simulator),
        program=f"{paths.INPUTS}/simulators/{{simulator}}.json",
        code=paths.CODE["ask"],
    output:
        answers=update(f"{paths.ANSWERS}/{{simulator}}.jsonl"),
        state=f"{paths.ANSWERS}/{{simulator}}.json",
    log:
        f"{LOGS}/ask/{{simulator}}.log",
    group:
        lambda wildcards: f"ask_{wildcards.simulator}"
    threads: lambda wildcards: paths.described(PROJECT, wildcards.simulator).threads
    resources:
        mem_mb=lambda wildcards: paths.described(PROJECT, wildcards.simulator).memory_mb,
    run:
        jobs.ask(WORKERS, wildcards.simulator, log=log[0])


# The answers that are committed, so that nobody else has to ask.


rule record:
    input:
        f"{paths.ANSWERS}/{{simulator}}.jsonl",
    output:
        f"{paths.RECORDED}/{{simulator}}.jsonl",
    log:
        f"{LOGS}/record/{{simulator}}.log",
    localrule: True
    run:
        jobs.record(input[0], output[0], log=log[0])
