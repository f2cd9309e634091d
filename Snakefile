"""Front door of the laboratory.

snakemake                       every finding
snakemake h1_bw_efficiency      one finding, by its id or an alias (`roofline-lab list` shows them)
snakemake errata index          the errata of the published findings, and the index of all findings
snakemake questions             what load meets which limits: an answer to every question in questions/
snakemake check                 do all committed reports still come out?
snakemake site                  pages, tables and plots of all that is committed, to open in a browser: site/index.html
snakemake --config project=DIR  all of this for the lab in another folder (docs/labs.md)
snakemake --config kernels=DIR  the synthetic findings on a folder of measured kernel tables, into results/measured/
snakemake --config ask=again    programs of others are asked all anew (docs/simulator-contract.md)

Everything is loaded and validated here, before any job runs; the rules below only say which file is
made from which. A lab of one's own takes them as a module (docs/labs.md).
"""

import os
import sys
from pathlib import Path

# A clone works without installing the package; a lab's Snakefile may lie anywhere.
HERE = Path(str(workflow.current_basedir))
if (HERE / "simulator").is_dir():
    sys.path[:0] = [str(HERE / "workflow"), str(HERE)]

from snakemake.exceptions import WorkflowError
from roofline_lab.jobs.at_work import end_when_interrupted, take_turn
from roofline_lab.jobs.freshness import NOTHING_TO_DO, Freshness

if "project" in config:
    if not (Path(config["project"]) / "hypotheses").is_dir():
        raise WorkflowError(
            f"--config project={config['project']}: has no hypotheses/; `roofline-lab init` makes a lab there"
        )

    workdir: config["project"]


END = end_when_interrupted(os._exit)
FRESHNESS = Freshness(sys.argv)
if workflow.is_main_process and not FRESHNESS.nothing_to_do():
    if take_turn(sys.argv, lambda line: print(line, file=sys.stderr)):
        FRESHNESS = Freshness(sys.argv)  # what the other run made counts
if FRESHNESS.nothing_to_do():
    print(NOTHING_TO_DO, file=sys.stderr)
    raise SystemExit(0)

from snakemake.utils import min_version

min_version("9.18")

from simulator.errors import RooflineLabError
from roofline_lab import made, scheduling
from roofline_lab.calibration import plan as calibration_files
from roofline_lab.calibration.plan import plan_names as calibration_names
from roofline_lab.jobs import calibration, findings as jobs, paths, questions, targets
from roofline_lab.jobs.workers import Workers
from roofline_lab.simulators.processes import end_elsewhere_too

jobs.be_quiet(workflow.output_settings.quiet or ())
scheduling.hush_scheduler()
scheduling.stop_idle_rounds()
scheduling.end_at_once(END)
scheduling.keep_submissions_whole()
end_elsewhere_too(lambda: scheduling.cancel_submitted(workflow))
if not workflow.is_main_process:
    made.enter_apart()
try:
    PROJECT = jobs.open_project(
        Path.cwd(), config.get("kernels"), alone=workflow.is_main_process, ask=config.get("ask")
    )
except RooflineLabError as error:
    raise SystemExit(jobs.refused(error)) from None
WORKERS = Workers(PROJECT)
ROWS = paths.results_folder(PROJECT).as_posix()
LOGS = f"{ROWS}/{paths.LOGS}"
scheduling.choose_among_few(jobs.reading_order(PROJECT))
scheduling.at_start(lambda started: jobs.begin(WORKERS, started))
scheduling.tell_reasons(lambda graph: jobs.tell_forecast(PROJECT, graph))
scheduling.when_nothing_is_to_be_done(lambda: FRESHNESS.record(PROJECT.names))


report: "workflow/report/workflow.rst"


wildcard_constraints:
    hypothesis=paths.one_of(PROJECT.names),
    simulator=paths.one_of(paths.programs(PROJECT)),


onsuccess:
    FRESHNESS.record(PROJECT.names)


scheduling.keep_handlers(workflow)


include: "workflow/rules/predict.smk"
include: "workflow/rules/ask.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/score.smk"
include: "workflow/rules/render.smk"
include: "workflow/rules/publish.smk"
include: "workflow/rules/capacity.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/check.smk"


if PROJECT.left_out:

    # Pages about all findings are complete or absent, and the run ends with what has to be put right.
    rule all:
        default_target: True
        input:
            [path for hypothesis in paths.names(PROJECT) for path in paths.finding(PROJECT, hypothesis)],
        log:
            f"{LOGS}/all.log",
        localrule: True
        run:
            jobs.refuse_left_out(PROJECT, log=log[0])

else:

    rule all:
        default_target: True
        input:
            paths.regenerated_pages(PROJECT),
            paths.all_reports(PROJECT),
            paths.recorded_paths(PROJECT, paths.names(PROJECT)),
        message:
            "All findings are up to date in reports/."


for hypothesis in paths.names(PROJECT):

    rule:
        name:
            hypothesis
        input:
            paths.finding(PROJECT, hypothesis),


for alias, hypothesis in targets.aliases(PROJECT).items():
    if not workflow.is_rule(alias):

        rule:
            name:
                alias
            input:
                paths.finding(PROJECT, hypothesis),


if workflow.modifier.is_main_snakefile() or not targets.has_rules(Path(workflow.main_snakefile)):
    try:
        targets.refuse_unknown(PROJECT, jobs.named_targets(sys.argv), [rule.name for rule in workflow.rules])
    except RooflineLabError as error:
        raise SystemExit(jobs.refused(error)) from None
