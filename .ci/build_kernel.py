"""Hatchling's build hook: compiles the kernels (`_*.pyx`) beside their sources, where a compiler is there.

Without one, or without Python's headers, the product is complete all the same: `places/table.py` takes the plain table.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = tuple(
    Path("geo_offers", path)
    for path in (
        "places/_kernel.pyx",
        "places/_nearest.pyx",
        "presence/_evidence.pyx",
        "pipeline/_batch.pyx",
        "pipeline/_past.pyx",
        "pipeline/_weighing.pyx",
        "pipeline/_moved.pyx",
        "pipeline/_tracks.pyx",
    )
)


class BuildKernel(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - the hook's signature
        """Adds the compiled modules to the wheel; an editable install finds them beside their sources."""
        try:
            built = build(Path(self.root))
        except Exception as error:  # noqa: BLE001 - no compiler, no headers, a fault of theirs: each means "not built"
            print(f"the compiled kernels are left out, plain ones serve: {error}", file=sys.stderr)  # noqa: T201
            return
        build_data["artifacts"] += [str(module.relative_to(self.root)) for module in built]
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def build(root: Path) -> list[Path]:
    """Where the compiled modules are; raises where they cannot be compiled."""
    from Cython.Build import cythonize  # noqa: PLC0415 - only here are both needed
    from setuptools import Distribution, Extension  # noqa: PLC0415
    from setuptools.command.build_ext import build_ext  # noqa: PLC0415

    names = [".".join(source.with_suffix("").parts) for source in SOURCES]
    # No multiplication and addition in one: they round as Python's, to the last bit.
    flags = ["/fp:precise"] if sys.platform == "win32" else ["-O3", "-ffp-contract=off"]
    with tempfile.TemporaryDirectory() as scratch:
        modules = cythonize(
            [
                Extension(name, [str(root / source)], extra_compile_args=flags)
                for name, source in zip(names, SOURCES, strict=True)
            ],
            build_dir=scratch,
            include_path=[str(root)],
            quiet=True,
        )
        command = build_ext(Distribution({"name": "geo-offers", "ext_modules": modules}))
        command.build_lib, command.build_temp = str(root), scratch
        command.finalize_options()
        command.run()
        return [root / command.get_ext_filename(name) for name in names]
