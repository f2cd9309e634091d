"""What an installation consists of; everything else about the package stands in `pyproject.toml`.

What a lab takes from the package beside code (`workflow/roofline_lab/places.py`) lies at the root of a clone, and
inside the package once installed.
"""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SHIPPED = "roofline_lab.shipped"


class BuildCode(build_py):
    """Takes no code from the root of a clone: this file lies there."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Return the modules of a package."""
        return [] if package == SHIPPED else super().find_package_modules(package, package_dir)


setup(
    packages=[*find_packages(".", include=["simulator*"]), *find_packages("workflow"), SHIPPED],
    cmdclass={"build_py": BuildCode},
)
