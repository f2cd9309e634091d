"""Whatever a person points an import at: one message with file and remedy, and nothing half-imported."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from roofline_lab.cli.import_measurements import EXIT_INCOMPLETE
from roofline_lab.cli.main import EXIT_FAILURE, EXIT_INTERRUPTED, main
from roofline_lab.ground_truth import requests as recorded_requests
from roofline_lab.importers import import_experiment, writing
from roofline_lab.importers.table import read as read_table
from simulator.errors import ConfigError
from tests.roofline_lab.builders import ROOT
from tests.roofline_lab.importers.samples import (
    LARGE_MB,
    LARGE_REQUESTS,
    SAMPLES,
    guidellm_benchmark,
    guidellm_report,
    sent,
    tool_word,
    vllm_result,
    write_guidellm,
    write_vllm,
)
from tests.roofline_lab.importers.test_table import ROW, table

TOOLS = sorted(SAMPLES)
WITH_REQUESTS = [tool for tool in TOOLS if SAMPLES[tool].write_requests]


def written(folder, tool):
    """Write a sound result of a tool and return its main file."""
    SAMPLES[tool].write(folder)
    return folder / SAMPLES[tool].file


def state(project):
    return sorted(path.relative_to(project).as_posix() for path in project.rglob("*"))


def message(project, tool, path, capsys):
    """Return the one message of an import that must fail and leave the project as it was."""
    before = state(project)
    out = project / "ground_truth" / "mine"
    assert main(["import", tool, str(path), "--out", str(out)]) == EXIT_FAILURE
    assert state(project) == before
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    return text


# --- files that are what they should be, in another shape ----------------------------------------


def as_windows(content):
    return b"\xef\xbb\xbf" + json.dumps(json.loads(content), indent=1).replace("\n", "\r\n").encode()


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("change", [as_windows, gzip.compress], ids=["bom_and_crlf", "gzip"])
def test_the_same_content_in_another_shape_is_imported(project, tmp_path, tool, change):
    file = written(tmp_path / "in", tool)
    file.write_bytes(change(file.read_bytes()))
    assert import_experiment(tool, tmp_path / "in", project / "ground_truth" / "mine").experiment.tool == tool_word(
        tool
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_a_compressed_file_is_found_by_its_name(project, tmp_path, tool):
    file = written(tmp_path / "in", tool)
    (file.parent / f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
    file.unlink()
    assert import_experiment(tool, tmp_path / "in", project / "ground_truth" / "mine").experiment.tool == tool_word(
        tool
    )


@pytest.mark.parametrize("tool", TOOLS)
def test_a_log_with_bytes_that_are_no_text_is_searched_all_the_same(project, tmp_path, tool):
    written(tmp_path / "in", tool)
    (tmp_path / "in" / "vllm.log").write_bytes(b"\xff\xfe\n max_seq_len=4096, \n")
    experiment = import_experiment(tool, tmp_path / "in", project / "ground_truth" / "mine").experiment
    assert experiment.server.known.max_model_len_tokens == 4096


def test_ids_in_any_alphabet_are_kept(project, tmp_path):
    benchmark = guidellm_benchmark(sent(), {"type_": "synchronous"})
    benchmark["requests"]["successful"][3]["request_id"] = 'żółć-"你好",\n🙂'
    source = write_guidellm(tmp_path / "in", guidellm_report([benchmark]))
    experiment = import_experiment("guidellm", source, project / "ground_truth" / "mine").experiment
    assert [request.id for request in experiment.recorded()][3] == 'żółć-"你好",\n🙂'


# --- files that are not ---------------------------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is the file complete?"),
        (b"{}", None),
        (b'{"a": 1, "a": 2}', "the key 'a' is given twice"),
        ('{"a": 1}'.encode("utf-16"), "save the file as UTF-8"),
        (gzip.compress(b'{"a": 1}' * 99, mtime=0)[:-12], "cannot be read: Compressed file ended"),
        (b"\x1f\x8b garbage", "cannot be read"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": Infinity}', "Infinity is not a number"),
    ],
)
def test_a_file_of_something_else_is_one_message(project, tmp_path, capsys, tool, content, expected):
    file = written(tmp_path / "in", tool)
    file.write_bytes(content)
    text = message(project, tool, tmp_path / "in", capsys)
    assert str(file) in text
    assert (expected or SAMPLES[tool].not_ours) in text


@pytest.mark.parametrize("tool", TOOLS)
def test_several_results_in_one_file_are_one_message(project, tmp_path, capsys, tool):
    file = written(tmp_path / "in", tool)
    file.write_bytes(file.read_bytes() + b"\n" + file.read_bytes())
    assert SAMPLES[tool].twice in message(project, tool, tmp_path / "in", capsys)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_folder_or_a_loop_where_a_file_should_be_is_one_message(project, tmp_path, capsys, tool):
    file = written(tmp_path / "in", tool)
    file.unlink()
    file.mkdir()
    assert str(tmp_path) in message(project, tool, tmp_path / "in", capsys)
    file.rmdir()
    file.symlink_to(file)
    assert str(tmp_path) in message(project, tool, tmp_path / "in", capsys)
    assert str(tmp_path) in message(project, tool, file, capsys)


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("path", ["gone", "a\0b", "x" * 5000])
def test_a_path_to_nothing_is_one_message(project, capsys, tool, path):
    assert message(project, tool, path, capsys)


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_nobody_may_read_is_one_message(project, tmp_path, capsys, tool, monkeypatch):
    file = written(tmp_path / "in", tool)

    def refusing(usual):
        def refused(path, *arguments, **options):
            if path.name == file.name:
                raise PermissionError(13, "Permission denied", str(path))
            return usual(path, *arguments, **options)

        return refused

    given = file if SAMPLES[tool].file_is_enough else tmp_path / "in"
    for name in ("open", "is_file"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, refusing(getattr(Path, name)))
            out = str(project / "ground_truth" / "mine")
            assert main(["import", tool, str(given), "--out", out]) in (0, EXIT_FAILURE)
            assert "Traceback" not in capsys.readouterr().err
        shutil.rmtree(out, ignore_errors=True)


@pytest.mark.parametrize(
    ("tool", "name"),
    # Only the requests of these tools have the ids of the server's spans.
    [(tool, "exp-config.yaml") for tool in TOOLS]
    + [(tool, "traces.jsonl") for tool in TOOLS if tool in ("guidellm", "vllm-bench", "sglang-bench")],
)
def test_a_broken_file_beside_the_results_is_one_message(project, tmp_path, capsys, tool, name):
    written(tmp_path / "in", tool)
    (tmp_path / "in" / name).write_text("{", encoding="utf-8")
    assert name in message(project, tool, tmp_path / "in", capsys)


def test_a_refusal_of_the_format_names_the_files_the_figures_are_from(project, tmp_path, capsys):
    path = write_vllm(tmp_path / "in", vllm_result(sent(), mean_tpot_ms=3.0))
    text = message(project, "vllm-bench", path, capsys)
    assert "load_points.0.measured.tpot_mean" in text
    assert "nothing was imported" in text


def test_a_lone_surrogate_cannot_be_written_and_is_one_message(project, tmp_path, capsys):
    benchmark = guidellm_benchmark(sent(), {"type_": "synchronous"})
    benchmark["requests"]["successful"][3]["request_id"] = "\ud800"
    folder = write_guidellm(tmp_path / "in", guidellm_report([benchmark]))
    assert message(project, "guidellm", folder, capsys)


# --- an import that does not come to its end -------------------------------------------------------


@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("step", ["write_text", "seen_in", "_move"])
def test_an_import_that_is_cut_short_leaves_the_project_as_it_was(project, tmp_path, monkeypatch, tool, step, error):
    written(tmp_path / "in", tool)
    before = state(project)

    def cut_short(*_):
        raise error

    monkeypatch.setattr(writing, step, cut_short)
    code = main(["import", tool, str(tmp_path / "in"), "--out", str(project / "ground_truth" / "mine")])
    assert code == (EXIT_INTERRUPTED if error is KeyboardInterrupt else EXIT_FAILURE)
    assert state(project) == before


def test_a_project_nobody_may_write_into_is_one_message(project, tmp_path, capsys, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", str(project))

    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    text = message(project, "vllm-bench", write_vllm(tmp_path / "in"), capsys)
    assert "cannot be written: [Errno 13] Permission denied" in text


# One run each that a table cannot use, and why.
UNUSABLE = (
    {**ROW, "experiment_id": "20260302-gpu", "hardware": "tpu"},
    {**ROW, "experiment_id": "20260302-model", "model_hf_id": "nobody/nothing-7b"},
    {**ROW, "experiment_id": "20260302-waves", "arrival_process": "waves"},
    {**ROW, "experiment_id": "20260302-cell", "ttft_mean_ms": "fast"},
    {**ROW, "experiment_id": "20260302-replicas", "dp": "2"},
)
REASONS = (
    "hardware: no single GPU of configs/hardware is 'tpu'",
    "model: no model of configs/models is 'nobody/nothing-7b'",
    "arrival_process 'waves' with requested_rate_rps 5",
    "column 'ttft_mean_ms': must be a number, got 'fast'",
    "column 'dp': 2; several replicas",
)


def test_a_run_of_a_table_that_cannot_be_imported_costs_its_own_rows(project, tmp_path, capsys):
    path = table(tmp_path, ROW, *UNUSABLE)
    assert main(["import", "--from-csv", str(path), "--out", str(project / "ground_truth")]) == EXIT_INCOMPLETE
    out = capsys.readouterr().out
    assert f"not imported: {len(UNUSABLE)} of {len(UNUSABLE) + 1} experiments" in out
    for row, reason in zip(UNUSABLE, REASONS, strict=True):
        assert re.search(rf"  - {row['experiment_id']}: refused: .*{reason}", out)
        assert not (project / "ground_truth" / row["experiment_id"]).exists()
    assert (project / "ground_truth" / ROW["experiment_id"] / "experiment.yaml").is_file()
    assert "--hardware" not in out
    assert "--model" not in out
    assert not [name for name in state(project) if ".import" in name]


def test_a_table_of_which_no_run_can_be_imported_leaves_everything_as_it_was(project, tmp_path, capsys):
    path = table(tmp_path, *UNUSABLE[:2])
    before = state(project)
    assert main(["import", "--from-csv", str(path), "--out", str(project / "ground_truth")]) == EXIT_FAILURE
    assert state(project) == before
    err = capsys.readouterr().err
    assert all(re.search(reason, err) for reason in REASONS[:2])
    assert "--" not in err


def test_folders_that_were_moved_are_taken_back_when_the_next_cannot_be(project, tmp_path, monkeypatch):
    path = table(tmp_path, ROW, {**ROW, "experiment_id": "20260302-other"})
    before = state(project)
    rename = Path.rename

    def second_fails(source, target):
        if target.name == "20260302-other":
            raise OSError(39, "Directory not empty")
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    assert main(["import", "--from-csv", str(path), "--out", str(project / "ground_truth")]) == EXIT_FAILURE
    assert state(project) == before


def test_a_dangling_link_is_not_written_through(project, tmp_path, capsys):
    out = project / "ground_truth" / "mine"
    out.symlink_to(tmp_path / "elsewhere")
    assert main(["import", "vllm-bench", str(write_vllm(tmp_path / "in")), "--out", str(out)]) == EXIT_FAILURE
    assert "exists already" in capsys.readouterr().err
    assert not (tmp_path / "elsewhere").exists()


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"num_success": "0"}, "line 2: column 'num_success': 0; without an answer nothing is measured"),
        ({"num_success": "3001"}, "line 2: column 'num_success': 3001 exceeds num_requests 3000"),
        ({"tp": "0"}, "line 2: column 'tp': must be 1 or greater"),
        ({"stage": ""}, "line 2: column 'stage': must not be empty"),
        ({"ttft_mean_ms": "0", "ttft_p90_ms": "31"}, "ttft_mean: 0, which means not measured"),
    ],
)
def test_an_impossible_row_is_refused_with_its_column(tmp_path, change, expected):
    with pytest.raises(ConfigError) as caught:
        read_table(table(tmp_path, {**ROW, **change}))
    assert expected in str(caught.value)


def test_stages_of_one_run_on_two_models_are_refused(tmp_path):
    other = {**ROW, "stage": "1", "model_hf_id": "other/model"}
    with pytest.raises(ConfigError, match=r"column 'model_hf_id': stages of '20260301-mine' have .* split the run"):
        read_table(table(tmp_path, ROW, other))


def test_a_compressed_table_is_read(tmp_path):
    path = table(tmp_path, ROW)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert list(read_table(path).found) == ["20260301-mine"]


# --- large files ----------------------------------------------------------------------------------

# What a process that imports may need: measured are 60 to 64, most of it interpreter and libraries.
ALLOWED_MIB = 90


@pytest.mark.parametrize("tool", WITH_REQUESTS)
def test_more_single_requests_than_fit_are_refused(project, tmp_path, capsys, monkeypatch, tool):
    monkeypatch.setattr(recorded_requests, "MAX_RECORDED", 5)
    file = SAMPLES[tool].write_requests(tmp_path / "in")
    text = message(project, tool, tmp_path / "in", capsys)
    assert str(file) in text
    assert "more than 5 single requests; import the run in parts, or without its requests" in text


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the peak of one program")
@pytest.mark.parametrize("tool", WITH_REQUESTS)
def test_a_file_of_many_megabytes_is_imported_in_bounded_memory(project, tmp_path, tool):
    file = SAMPLES[tool].write_large(tmp_path / "in")
    assert file.stat().st_size > LARGE_MB * 900_000
    out = project / "ground_truth" / "mine"
    command = [sys.executable, "-c", LIMITED, str(ALLOWED_MIB), "import", tool, str(tmp_path / "in"), "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len((out / "requests.csv").read_text(encoding="utf-8").splitlines()) == LARGE_REQUESTS + 1


# Runs the command and fails where it needed more memory than it may. The kernel's own high-water mark is
# that of this program alone; `getrusage` would also count the process that started it.
LIMITED = """
import re, sys
from pathlib import Path
from roofline_lab.cli.main import main
code = main(sys.argv[2:])
peak = int(re.search("VmHWM: *([0-9]+) kB", Path("/proc/self/status").read_text().replace(chr(9), " ")).group(1)) / 1024
sys.exit(code or (f"peak memory {peak:.0f} MiB" if peak > float(sys.argv[1]) else 0))
"""


def test_a_refusal_of_the_format_names_the_file_as_the_user_gave_it(project, tmp_path, capsys):
    path = write_vllm(tmp_path / "in", vllm_result(sent(), mean_tpot_ms=3.0))
    text = message(project, "vllm-bench", path, capsys)
    assert text.startswith(f"error: {path}, as experiment 'mine': load_points.0.measured.tpot_mean")
    assert "experiment.yaml" not in text
