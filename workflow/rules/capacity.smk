# Questions about capacity, a file each in questions/, and their answers as pages.

for question in paths.questions(PROJECT):

    rule:
        name:
            f"answer_{question}"
        input:
            paths.CAPACITY_DATA,
            paths.proof_paths(PROJECT, question),
            question=paths.question_file(question),
            code=paths.CODE["capacity"],
        output:
            paths.question_paths(PROJECT, paths.REGENERATED_PAGES, question),
        log:
            f"{LOGS}/capacity/{question}.log",
        group:
            "capacity"
        resources:
            mem_mb=1000,
            runtime=30,
        run:
            questions.answer(WORKERS, Path(output[0]).parent.name, log=log[0])

    rule:
        name:
            f"publish_answer_{question}"
        input:
            paths.question_paths(PROJECT, paths.REGENERATED_PAGES, question),
        output:
            paths.question_paths(PROJECT, paths.REPORTS, question),
        log:
            f"{LOGS}/publish_capacity/{question}.log",
        localrule: True
        run:
            questions.publish(Path(output[0]).parent.name, list(output), log=log[0])


if paths.questions(PROJECT):

    rule list_questions:
        input:
            [
                path
                for question in paths.questions(PROJECT)
                for path in paths.question_paths(PROJECT, paths.REGENERATED_PAGES, question)
            ],
            specs=paths.SPECS,
            code=paths.CODE["capacity"],
        output:
            (paths.REGENERATED_PAGES / paths.QUESTIONS_PAGE).as_posix(),
        log:
            f"{LOGS}/list_questions.log",
        localrule: True
        run:
            questions.list_questions(PROJECT, output[0], log=log[0])

    rule publish_questions:
        input:
            (paths.REGENERATED_PAGES / paths.QUESTIONS_PAGE).as_posix(),
        output:
            (paths.REPORTS / paths.QUESTIONS_PAGE).as_posix(),
        log:
            f"{LOGS}/publish_questions.log",
        localrule: True
        run:
            questions.publish_questions(output[0], log=log[0])


rule questions:
    input:
        paths.question_paths(PROJECT, paths.REPORTS),
