"""What is taken out of the frozen folder, and that what stays still works; and the icons that are drawn for it."""

import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from PySide6.QtCore import QBuffer, QByteArray
from PySide6.QtGui import QImageReader

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "packaging"))
import icons  # noqa: E402
import icu  # noqa: E402
import slimming  # noqa: E402
from installing import Problem  # noqa: E402

SVG = ROOT / "resources" / "icons" / "lemmascope.svg"
binutils = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not all(map(shutil.which, ("as", "ld", "readelf"))),
    reason="binutils of Linux are needed",
)


# --- icons ---


@pytest.mark.parametrize(
    ("system", "form", "sizes"),
    [("win32", "ico", set(icons.ICO)), ("darwin", "icns", set(icons.ICNS.values()))],
)
def test_an_icon_holds_every_size(tmp_path, qapp, system, form, sizes):
    """Read by Qt's own readers, which know nothing of how it was written."""
    made = icons.make(SVG, tmp_path / "new", system)
    assert made == str(tmp_path / "new" / f"lemmascope.{form}")
    reader = QImageReader(made, form.encode())
    seen = set()
    for i in range(reader.imageCount()):
        reader.jumpToImage(i)
        image = reader.read()
        assert not image.isNull(), reader.errorString()
        assert image.width() == image.height()
        seen.add(image.width())
        assert image.pixelColor(0, 0).alpha() == 0  # rounded corners
        middle = image.pixelColor(image.width() // 2, 3 * image.width() // 32)  # above the circle
        assert middle.name() == "#14171d"
    assert seen == sizes


def test_linux_needs_none_and_a_broken_drawing_is_refused(tmp_path):
    assert icons.make(SVG, tmp_path, "linux") is None
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.svg").write_text("no drawing")
    with pytest.raises(ValueError, match=r"x\.svg is no SVG"):
        icons.ico(tmp_path / "x.svg")


# --- ICU ---

HEAD = struct.pack("<HBB HHBBBB", 32, 0xDA, 0x27, 20, 0, 0, 0, 2, 0) + b"CmnD" + bytes(16)


@pytest.mark.parametrize(
    ("name", "stays"),
    [
        ("root.res", True), ("en.res", True), ("en_GB.res", True), ("pool.res", True), ("res_index.res", True),
        ("metadata.res", True), ("supplementalData.res", True), ("de.res", False), ("sr_Latn_RS.res", False),
        ("coll/de.res", True), ("coll/ucadata.icu", True), ("zone/de.res", False), ("zone/tzdbNames.res", True),
        ("brkitr/line.brk", True), ("brkitr/cjdict.dict", False), ("gb18030.cnv", False), ("cnvalias.icu", True),
        ("translit/root.res", False), ("nfkc.nrm", True), ("lang/en_CA.res", True), ("unit/zh_Hant_HK.res", False),
    ],
)  # fmt: skip
def test_languages_go_and_their_order_stays(name, stays):
    assert icu.wanted(f"icudt73l/{name}") is stays


def test_what_is_packed_comes_out_again_and_is_aligned():
    kept = [
        ("icudt73l/a.res", b"1234567"),
        ("icudt73l/coll/b.res", b"89"),
        ("icudt73l/de.res", b"x" * 40),
    ]
    data = icu.packed(HEAD, kept)
    assert [(n, c[: len(k)]) for (n, c), (_, k) in zip(icu.items(data), kept)] == kept
    base = len(HEAD)
    for i in range(3):
        assert struct.unpack_from("<II", data, base + 4 + 8 * i)[1] % 16 == 0
    names = [n for n, _ in icu.items(icu.reduced(data))]
    assert names == ["icudt73l/a.res", "icudt73l/coll/b.res"]


@pytest.mark.parametrize("data", [b"", bytes(64), HEAD.replace(b"CmnD", b"ResB") + bytes(8)])
def test_other_data_are_refused(data):
    with pytest.raises(Problem, match="a form that"):
        icu.items(data)


SORTED = """
import sys
from PySide6.QtCore import QCollator, QLocale
def order(language, words):
    c = QCollator(QLocale(language)); c.setNumericMode(True)
    return sorted(words, key=c.sortKey)
assert order("sv_SE", ["z", "ö", "a"]) == ["a", "z", "ö"], "Swedish"
assert order("de_DE", ["z", "ö", "a"]) == ["a", "ö", "z"], "German"
assert order("en_US", ["run 10", "Run 9"]) == ["Run 9", "run 10"], "numbers"
assert order("zz", ["b", "a"]) == ["a", "b"], "no language"
assert QLocale("tr_TR").toUpper("i") == "İ" and QLocale("de_DE").toUpper("ß") == "SS"
print(*[line.split()[-1] for line in open("/proc/self/maps") if "libicudata" in line])
"""


@binutils
def test_qt_sorts_by_language_with_the_smaller_data(tmp_path, monkeypatch):
    import PySide6

    found = list(Path(PySide6.__file__).parent.glob("Qt/lib/libicudata.so.*"))
    if not found:
        pytest.skip("this Qt has no ICU of its own")
    small = tmp_path / found[0].name
    shutil.copy(found[0], small)
    slimming.languages(tmp_path)
    assert small.stat().st_size < 0.4 * found[0].stat().st_size
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", SORTED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {str(small)}


# --- libraries that nothing needs ---


def library(path: Path, *needs: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["as", "-o", f"{path}.o", "/dev/null"], check=True)
    subprocess.run(
        ["ld", "-shared", "-soname", path.name, "-o", path, f"{path}.o", *needs, "--no-as-needed"],
        check=True,
    )
    Path(f"{path}.o").unlink()
    return path


@binutils
def test_only_libraries_that_nothing_needs_go(tmp_path):
    inside = tmp_path / "_internal"
    deep = library(inside / "libdeep.so.1")
    near = library(inside / "libnear.so.2", deep)
    library(inside / "Qt" / "libqxcb.so", near)
    gone = library(inside / "libgone.so.1")
    library(inside / "libgtk.so.3", gone, deep)
    (inside / "libalias.so").symlink_to("Qt/libqxcb.so")
    assert slimming.orphans(inside) == ["libgone.so.1", "libgtk.so.3"]
    left = sorted(p.name for p in inside.rglob("*.so*"))
    assert left == ["libalias.so", "libdeep.so.1", "libnear.so.2", "libqxcb.so"]


@binutils
def test_a_tool_that_fails_is_one_sentence(tmp_path):
    (tmp_path / "x.so").write_text("no library")
    with pytest.raises(Problem, match=r"^nm failed: .*x\.so"):
        icu.tool("nm", "-D", str(tmp_path / "x.so"))


def test_a_picture_can_be_read_back(qapp):
    kept = QByteArray(icons.png(SVG, 48))
    buffer = QBuffer(kept)
    assert QImageReader(buffer, b"png").size().width() == 48
