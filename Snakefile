"""Front door of the laboratory.

snakemake                       every finding
snakemake h1_bw_efficiency      one finding (`snakemake --list-target-rules` lists them)
snakemake errata index          the errata of the published findings, and the index of all findings
snakemake check                 do all committed reports still come out?
snakemake --config kernels=DIR  the synthetic findings on a folder of measured kernel tables, into results/measured/

Everything is loaded and validated here, before any job runs; the rules below only say which file is
made from which.
"""

import sys
from pathlib import Path

from snakemake.utils import min_version

min_version("9.18")

from simulator.errors import RooflineLabError
from workflow.lib import pipeline, project_pages, scheduling, sweep_jobs
from workflow.lib.calibration import paths as calibration
from workflow.lib.calibration.plan import plan_names as calibration_names

scheduling.hush_scheduler()
scheduling.stop_idle_rounds()
try:
    LAB = pipeline.open_laboratory(Path(workflow.basedir), config.get("kernels"))
    pipeline.refuse_misspelt_targets(LAB, sys.argv[1:])
except RooflineLabError as error:
    raise pipeline.user_error(error) from None


include: "workflow/rules/simulate.smk"
include: "workflow/rules/sweep.smk"
include: "workflow/rules/synthetic.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/errata.smk"
include: "workflow/rules/calibrate.smk"
include: "workflow/rules/check.smk"


rule all:
    default_target: True
    input:
        pipeline.regenerated(LAB, pipeline.names(LAB)),
        pipeline.all_reports(LAB),
    message:
        "All findings are up to date in reports/."


for hypothesis in pipeline.names(LAB):

    rule:
        name:
            hypothesis
        input:
            pipeline.regenerated(LAB, [hypothesis]),
            pipeline.report_paths(LAB, hypothesis),
