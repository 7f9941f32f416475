"""What goes into the bundle, as data that the PyInstaller recipe and the tests read alike. Standard library only."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = "lemmascope"


def version() -> str:
    """From the one place where it is said."""
    text = (ROOT / "engine" / "version.py").read_text(encoding="utf-8")
    found = re.search(r'VERSION = "([^"]+)"', text)
    assert found is not None
    return found[1]


def modules() -> list[str]:
    """Every module of ours: the catalogue finds experiments, and commands load their parts, by name."""
    out = []
    for package in ("engine", "desktop"):
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            out.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return out


# What is imported by a name that PyInstaller cannot see.
HIDDEN = ("ziamath.zmath", "qasync", "torch._dynamo", "torch.fx.experimental.proxy_tensor")

# Packages that read files of their own: fonts and tables of the formulae.
WITH_DATA = ("latex2mathml", "ziafont", "ziamath")

# (in the project, in the bundle)
DATA = (
    ("resources/fonts", "resources/fonts"),
    ("resources/icons", "resources/icons"),
    ("resources/maps", "resources/maps"),
    ("resources/guides", "resources/guides"),
    ("resources/sessions", "resources/sessions"),
    ("LICENSE", "."),
    ("CHANGELOG.md", "."),
)
NOT_DATA = (
    "resources/screenshot-light.png",
    "resources/screenshot-dark.png",
    "resources/README.md",
)

# Packages of which torch or others could use a part, that nobody here does.
EXCLUDED = (
    "IPython", "PIL", "_pytest", "ml_dtypes", "opt_einsum", "rich", "beartype", "caffe2", "cv2", "hypothesis", "importlinter", "jax", "jaxlib", "jaxtyping",
    "matplotlib", "mypy", "networkx", "onnx", "onnxscript", "pandas", "pip", "pydoc_data", "pygments", "pytest", "pytestqt",
    "readline", "ruff", "scipy", "filelock", "setuptools", "sqlite3", "tensorboard", "tkinter",
    "torch.utils.tensorboard", "torch.utils.viz", "torchvision", "wheel", "numpy.f2py",
    "sympy.testing",
)  # fmt: skip

OPTIONAL = ("opt_einsum",)  # torch uses it where it happens to be, and does without

# Parts of torch that only compile, export, distribute or test, and of sympy (torch computes shapes with it) those that draw,
# print programs or do physics: of these what training loads stays, and the rest goes.
LAZY = (
    "torch._inductor", "torch.testing._internal", "torch.ao", "torch.onnx", "torch.distributed", "torch._vendor",
    "torch.utils.hipify", "torch.sparse._triton_ops_meta", "torch._export", "torch.utils.data", "torch.utils.benchmark",
    "sympy.categories", "sympy.codegen", "sympy.parsing", "sympy.physics", "sympy.plotting", "sympy.vector",
)  # fmt: skip

# torch reads the text of these when it is imported.
WITH_SOURCE = ("*config.py", "*config_comms.py")

# Files in the finished folder that nothing needs: tests and headers of torch, Qt for other systems and purposes.
DROPPED = (
    "torch/include/*", "torch/share/*", "torch/test/*", "torch/bin/protoc*", "torch/bin/test_*", "torch/bin/*_test*",
    "*/libtorchbind_test.so", "*/libjitbackend_test.so", "*/libbackend_with_compiler.so", "*/libaoti_custom_ops.so", "*.a",
    "PySide6/Qt/translations/*", "PySide6/Qt/qml/*", "PySide6/Qt/plugins/platforms/libqvnc.so",
    "PySide6/Qt/plugins/platforms/libqlinuxfb.so", "PySide6/Qt/plugins/platforms/libqeglfs.so",
    "PySide6/Qt/plugins/platforms/libqminimal*.so", "PySide6/Qt/plugins/platforms/libqvkkhrdisplay.so",
    "PySide6/Qt/plugins/platformthemes/*", "PySide6/Qt/plugins/egldeviceintegrations/*", "PySide6/Qt/plugins/tls/*",
    "PySide6/Qt/plugins/networkinformation/*", "PySide6/Qt/plugins/generic/*", "PySide6/Qt/plugins/imageformats/libqgif.so",
    "PySide6/Qt/plugins/imageformats/libqico.so", "PySide6/Qt/plugins/imageformats/libqjpeg.so",
    "PySide6/Qt/plugins/imageformats/libqtga.so", "PySide6/Qt/plugins/imageformats/libqtiff.so",
    "PySide6/Qt/plugins/imageformats/libqwbmp.so", "PySide6/Qt/plugins/imageformats/libqwebp.so",
    "PySide6/Qt/plugins/imageformats/libqicns.so", "PySide6/Qt/plugins/imageformats/libqpdf.so",
    "*/libQt6Quick*.so*", "*/libQt6Qml*.so*", "*/libQt6Pdf*.so*", "*/libQt6VirtualKeyboard*.so*",
    "*/libQt6Eglfs*.so*", "*/libgtk-3*", "*/libgdk-3*", "*/libcups*", "sympy/*/tests/*", "numpy/*/tests/*",
    "h5py/tests/*", "*.dist-info/licenses/*",  # these lie in the folder's licences/
    # the application opens no network connection, and hashes with Python's own code
    "python3*/lib-dynload/_ssl*", "python3*/lib-dynload/_hashlib*", "libssl*", "libcrypto*", "PySide6/QtNetwork*",
    "*/libQt6Network*", "libQt6Network*", "libkrb5*", "libgssapi*", "libk5crypto*", "libcom_err*", "libkeyutils*",
)  # fmt: skip

# Stripping is safe for these alone; others were patched after linking and break.
STRIPPED = (
    "*/libtorch_cpu.so", "*/libtorch_python.so", "libpython3*.so*", "python3*/lib-dynload/*.so",
)  # fmt: skip


def dropped(path: str) -> bool:
    """Whether a file of the folder, by its path there, is left out."""
    return any(fnmatch.fnmatch(path, pattern) for pattern in DROPPED)


def stripped(path: str) -> bool:
    return any(fnmatch.fnmatch(path, p) or fnmatch.fnmatch(f"x/{path}", p) for p in STRIPPED)


RECORDED = ROOT / "build" / "torch-modules.txt"  # what record.py said


def recorded() -> list[str]:
    """The modules of torch and sympy that were loaded when every experiment trained."""
    return RECORDED.read_text(encoding="utf-8").split()


def unloaded() -> list[str]:
    """The modules of LAZY that were not, with nothing below them that was."""
    import importlib.util

    loaded = set(recorded())
    needed = {name.rsplit(".", i)[0] for name in loaded for i in range(name.count(".") + 1)}
    out = []
    for top in sorted({name.partition(".")[0] for name in LAZY}):
        found = importlib.util.find_spec(top)
        assert found is not None and found.submodule_search_locations
        base = Path(found.submodule_search_locations[0])
        for file in base.rglob("*.py"):
            parts = (top, *file.relative_to(base).with_suffix("").parts)
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if name not in needed and any(name == f or name.startswith(f"{f}.") for f in LAZY):
                out.append(name)
    return out


def source_modes() -> dict[str, str]:
    """PyInstaller's collection mode for the modules whose text is read: as bytecode and as a file."""
    import importlib.util

    found = importlib.util.find_spec("torch")
    if found is None or not found.submodule_search_locations:
        return {}
    base = Path(found.submodule_search_locations[0])
    out = {}
    for pattern in WITH_SOURCE:
        for file in base.rglob(pattern):
            parts = ("torch", *file.relative_to(base).with_suffix("").parts)
            out[".".join(parts)] = "pyz+py"
    return out


def info_plist() -> dict[str, object]:
    """What macOS must know: sessions are ours to open."""
    return {
        "CFBundleDisplayName": "Lemmascope",
        "CFBundleShortVersionString": version(),
        "NSHighResolutionCapable": True,
        "LSMinimumSystemVersion": "12.0",
        "CFBundleDocumentTypes": [
            {
                "CFBundleTypeName": "Lemmascope session",
                "CFBundleTypeRole": "Editor",
                "LSHandlerRank": "Owner",
                "LSItemContentTypes": ["org.lemmascope.session"],
            }
        ],
        "UTExportedTypeDeclarations": [
            {
                "UTTypeIdentifier": "org.lemmascope.session",
                "UTTypeDescription": "Lemmascope session",
                "UTTypeConformsTo": ["public.data"],
                "UTTypeTagSpecification": {"public.filename-extension": ["lemma.h5"]},
            }
        ],
    }
