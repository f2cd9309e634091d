"""Results of NVIDIA's genai-perf: its summary as JSON, or as CSV where that stands alone.

Contract: `read` accepts a folder of one run (`profile_export_genai_perf.json` or `.csv`), one of these files, or a
folder of such folders, whose runs become load points. `profile_export.json` holds times of responses without numbers of
tokens and is no summary. Facts about the layout: the sources of genai-perf 0.0.16; older versions write the options of
their command line flat into `input_config`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roofline_lab.ground_truth.quality import Flag
from roofline_lab.importers.common import LARGEST, Measurement, Notes, measurement, unrecorded_day
from roofline_lab.importers.metric_exports import (
    Asked,
    Export,
    csv_export,
    json_export,
    load_point_of,
    named_by,
    workload_of,
)
from roofline_lab.importers.several import one_experiment, result_files
from roofline_lab.importers.tools import at_the_top, refuse_other_tool
from simulator.errors import ConfigError

TOOL = "genai-perf"
# The raw export of perf_analyzer; what the summary has is told by several keys together.
MARKS = frozenset({"service_kind"})

PATTERNS = ("*.json", "*.csv", "*.json.gz", "*.csv.gz")
IGNORED = ("inputs*.json", "llm_inputs*.json", "profile.json", "traces*", "profile_export.json*")


def recognises(top: Mapping[str, Any]) -> bool:
    """Say whether a file is of this tool: its summary, or its CSV, which has no deviations."""
    summary = {"input_config", "request_latency"} <= top.keys() and "records" not in top
    return summary or ({"Metric", "avg", "p99"} <= top.keys() and "std" not in top)


def read(path: Path) -> Measurement:
    """Read the results of one run, or of several as load points of one experiment.

    Raises
    ------
    ConfigError
        If they are not what genai-perf writes, or are damaged.
    """
    wanted = "a result of genai-perf (profile_export_genai_perf.json)"
    files, left_out = result_files(path, TOOL, PATTERNS, wanted, IGNORED)
    # The CSV of a run repeats its JSON with fewer digits.
    with_json = {file.parent for file in files if _is_json(file)}
    chosen = [file for file in files if _is_json(file) or file.parent not in with_json]
    return one_experiment([_run(file) for file in chosen], str(path if len(chosen) > 1 else chosen[0]), left_out)


def _is_json(file: Path) -> bool:
    return ".json" in file.suffixes[-2:]


def _run(file: Path) -> Measurement:
    export = _summary(file)
    notes = Notes()
    notes.say(Flag.CLIENT_TIME_INCLUDED, "Latencies were taken at the client.")
    return measurement(
        tool=TOOL,
        source=export.source,
        document=f"genai-perf result {file.name}",
        measured_on=unrecorded_day(file.absolute().parent),
        model_name=_model(export.config),
        workload=workload_of(export, TOOL, notes),
        load_points=[load_point_of(export, _asked(export), {}, TOOL, notes)],
        notes=notes,
    )


def _summary(file: Path) -> Export:
    if _is_json(file):
        export = json_export(file)
        refuse_other_tool(file, export.content, TOOL)
        if "service_kind" in export.content and "input_config" not in export.content:
            raise ConfigError(
                f"{file}: times of responses without numbers of tokens; give profile_export_genai_perf.json, which "
                "genai-perf writes beside it"
            )
    else:
        refuse_other_tool(file, dict(at_the_top(file)), TOOL)
        export = csv_export(file)
    if not any(export.value(name) is not None for name in ("ttft", "e2e", "tpot")):
        raise ConfigError(f"{file}: no latency of any request; is this a result that genai-perf profile wrote?")
    return export


def _model(config: Mapping[str, Any]) -> str | None:
    names = config.get("model_names", config.get("model"))
    known = [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
    return known[0] if len(known) == 1 else None


def _asked(export: Export) -> Asked:
    """Return the load of the configuration, of either layout, else that in the name of the folder.

    A request rate has even gaps unless `request_distribution` says otherwise, as in perf_analyzer.
    """
    config = export.config
    analyzer = config.get("perf_analyzer")
    stimulus = analyzer.get("stimulus") if isinstance(analyzer, Mapping) else config
    if not isinstance(stimulus, Mapping):
        return named_by(export.file.parent)
    concurrency, rate = (_positive(export, name, stimulus.get(name)) for name in ("concurrency", "request_rate"))
    if concurrency is None and rate is None:
        return named_by(export.file.parent)
    poisson = "poisson" in str(stimulus.get("request_distribution", config.get("request_distribution", ""))).lower()
    return Asked(
        concurrency=None if concurrency is None else round(concurrency),
        rate_per_s=rate,
        kind="poisson" if poisson else "constant",
    )


def _positive(export: Export, name: str, value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LARGEST:
        raise ConfigError(f"{export.source}: input_config: {name}: must be a positive number, got {value!r:.40}")
    return float(value)
