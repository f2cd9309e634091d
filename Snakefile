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

# A clone works without installing the package.
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))

from snakemake.utils import min_version

min_version("9.18")

from simulator.errors import RooflineLabError
from roofline_lab import scheduling
from roofline_lab.calibration import files as calibration_files
from roofline_lab.jobs import calibration, findings as pipeline, project_pages, sweeps as sweep_jobs
from roofline_lab.calibration.plan import plan_names as calibration_names

scheduling.hush_scheduler()
scheduling.stop_idle_rounds()
scheduling.choose_among_few()
try:
    PROJECT = pipeline.open_project(Path(workflow.basedir), config.get("kernels"))
    pipeline.refuse_misspelt_targets(PROJECT, sys.argv[1:])
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
        pipeline.regenerated(PROJECT, pipeline.names(PROJECT)),
        pipeline.all_reports(PROJECT),
    message:
        "All findings are up to date in reports/."


for hypothesis in pipeline.names(PROJECT):

    rule:
        name:
            hypothesis
        input:
            pipeline.regenerated(PROJECT, [hypothesis]),
            pipeline.report_paths(PROJECT, hypothesis),
