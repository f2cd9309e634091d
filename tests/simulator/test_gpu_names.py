"""Every usual name of a GPU leads to its data sheet, and that of another GPU to none."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from simulator.cli.catalog import SHIPPED_CONFIGS, find_hardware
from simulator.errors import ConfigError
from simulator.gpu_names import gpu_named, gpus_named
from tests.paths import ROOT

DESCRIBED = {path.stem: path for path in sorted((SHIPPED_CONFIGS / "hardware").glob("*.yaml"))}
USUAL = {
    "h100-sxm": (
        "h100-sxm", "H100-80GB-SXM", "NVIDIA-H100-80GB-HBM3", "NVIDIA H100 80GB HBM3", "H100", "h100_sxm", "H100 SXM5",
        "H100SXM5-80GB", "8xH100", "H100 x8", "4 x NVIDIA H100 80GB HBM3", "nvidia-h100-mega-80gb", "HGX H100",
        "H100-80GiB", "H100 (80 GB)",
    ),
    "h200-sxm": ("H200", "NVIDIA-H200", "H200-141GB-HBM3e", "h200_sxm", "NVIDIA H200 SXM 141GB"),
    "a100-sxm": ("A100", "A100-80GB", "A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB", "a100_sxm"),
    "l40s": ("L40S", "NVIDIA L40S", "NVIDIA-L40S", "l40s-48gb", "L40S 48 GB"),
    "h800-sxm": ("H800", "NVIDIA H800"),
    "gb200": ("GB200", "NVIDIA GB200", "gb200"),
    "b200-sxm": ("B200", "NVIDIA B200", "b200_sxm", "HGX B200", "8xB200", "B200-180GB"),
    "b300-sxm": ("B300", "NVIDIA B300 SXM", "b300_sxm"),
    "mi300x": ("MI300X", "AMD Instinct MI300X", "mi300x-192gb"),
    "a100-pcie": ("NVIDIA A100 80GB PCIe", "A100-PCIE-80GB", "a100_pcie"),
    "rtx-pro-6000": (
        "RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition", "rtx_pro_6000",
        "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX-PRO-6000-96GB",
    ),
    "rtx-4090": ("RTX 4090", "NVIDIA GeForce RTX 4090", "rtx4090", "RTX4090-24GB"),
}  # fmt: skip
OTHERS = (
    "H100 PCIe", "NVIDIA H100 NVL", "H100-94GB", "A100-40GB", "NVIDIA A100-SXM4-40GB", "A100-PCIE-40GB", "L40",
    "L4", "GH200", "H20", "RTX 5090", "MI325X", "GB300", "RTX 6000 Ada", "RTX A6000",
    "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", "NVIDIA H100 80GB HBM3 MIG 3g.40gb",
    "H100 or A100", "h100-sxm/l40s", "", "-", "gpu", "80GB",
)  # fmt: skip


@pytest.mark.parametrize(("gpu", "name"), [(gpu, name) for gpu, names in USUAL.items() for name in names])
def test_every_usual_name_of_a_gpu_is_recognised(gpu, name):
    assert gpu_named(name, DESCRIBED) == gpu


@pytest.mark.parametrize("name", OTHERS)
def test_another_gpu_a_slice_of_one_and_no_name_are_not_taken_for_one(name):
    assert gpu_named(name, DESCRIBED) is None


def test_a_name_that_says_no_form_means_the_sxm_form_and_one_that_says_it_that_one():
    both = {**DESCRIBED, "h100-pcie": DESCRIBED["h100-sxm"]}
    assert gpus_named("H100", both) == ["h100-sxm", "h100-pcie"]
    assert gpu_named("H100", both) == "h100-sxm"
    assert gpu_named("H100 PCIe 80GB", both) == "h100-pcie"
    assert gpus_named("A100-80GB", DESCRIBED) == ["a100-pcie", "a100-sxm"]


def test_a_name_that_two_described_gpus_answer_to_is_none_of_them():
    both = {"h100-nvl": DESCRIBED["h100-sxm"], "h100-pcie": DESCRIBED["h100-sxm"]}
    assert gpus_named("H100", both) == ["h100-nvl", "h100-pcie"]
    assert gpu_named("H100", both) is None


def test_the_simulator_takes_the_usual_name_and_refuses_an_unknown_one():
    assert find_hardware("NVIDIA-H100-80GB-HBM3", SHIPPED_CONFIGS).id == "h100-sxm"
    with pytest.raises(ConfigError, match=r"hardware: unknown id 'B400'; .*h100-sxm"):
        find_hardware("B400", SHIPPED_CONFIGS)


def test_the_command_line_runs_on_the_gpu_as_its_driver_calls_it():
    command = [sys.executable, "-m", "simulator", "run", "--model", "llama-3.1-8b", "--hardware", "NVIDIA-H200"]
    command += ["--num-requests", "1", "--rate", "1", "--prompt-tokens", "10", "--output-tokens", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["hardware"] == "h200-sxm"
