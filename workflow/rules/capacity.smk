# Questions about capacity, a file each in questions/, and their answers as pages.

for question in paths.questions(PROJECT):

    rule:
        name:
            f"answer_{question}"
        input:
            paths.CAPACITY_DATA,
            question=paths.question_file(question),
            code=paths.CODE["capacity"],
        output:
            paths.question_paths(PROJECT, paths.REGENERATED_PAGES, question),
        run:
            questions.answer(WORKERS, Path(output[0]).parent.name)

    rule:
        name:
            f"publish_answer_{question}"
        input:
            paths.question_paths(PROJECT, paths.REGENERATED_PAGES, question),
        output:
            paths.question_paths(PROJECT, paths.REPORTS, question),
        run:
            questions.publish(Path(output[0]).parent.name, list(output))


rule questions:
    input:
        paths.question_paths(PROJECT, paths.REPORTS),
