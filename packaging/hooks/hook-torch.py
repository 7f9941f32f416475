"""Instead of PyInstaller's own: what Lemmascope imports of torch, its libraries, and no sources but those that torch reads."""

import os

from PyInstaller.utils.hooks import collect_dynamic_libs, get_package_paths

_, folder = get_package_paths("torch")
binaries = collect_dynamic_libs("torch", search_patterns=["*.so", "*.so.*", "*.dll", "*.dylib"])
manager = os.path.join(folder, "bin", "torch_shm_manager")
if os.path.exists(manager):  # torch cannot be imported without it
    binaries.append((manager, "torch/bin"))
datas: list[tuple[str, str]] = []
hiddenimports: list[str] = []
