"""What an installation consists of; everything else about the package stands in `pyproject.toml`.

Rules and templates lie beside the package in a clone and inside it once installed.
"""

from setuptools import find_packages, setup

BESIDE = ["roofline_lab.rules", "roofline_lab.templates"]

setup(packages=[*find_packages(".", include=["simulator*"]), *find_packages("workflow"), *BESIDE])
