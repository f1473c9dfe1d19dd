"""Hides what is compiled, here and in children: Python loads a module of this name before it runs a program.

With this folder in PYTHONPATH the product is what it is where there is no compiler.
"""

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, PathFinder


class Hidden(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        """Refuses the product's own compiled modules; others are found as ever."""
        if name.startswith("geo_offers."):
            found = PathFinder.find_spec(name, path, target)
            if found is not None and isinstance(found.loader, ExtensionFileLoader):
                raise ModuleNotFoundError(f"{name} is hidden", name=name)


sys.meta_path.insert(0, Hidden())
