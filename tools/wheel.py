"""The wheel as a user gets it: ``python -m tools.wheel`` (the extra ``release`` must be installed).

Builds the source archive and from it, for every CPython of this machine, a wheel with the machine's compiler and one
with zig against the C library of 2012 (glibc 2.17); repairs and checks them; installs each in a fresh environment and
runs there, outside the tree, the README's example and the tests.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
# Asked of an interpreter: its version, or nothing where it is too old.
VERSION = """
import sys
if sys.version_info >= (3, 11): print("%d.%d" % sys.version_info[:2] + getattr(sys, "abiflags", ""))
"""
MAX_BYTES = 1_000_000
OLD_TAGS = r"manylinux2014|manylinux_2_(17|28)_"
TEST_FILES = (
    "tests",
    "bench",
    "pyproject.toml",
    "docs",
    "examples",
    "CITATION.cff",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "LICENSE",
)
BUILD_PATHS = {str(ROOT), str(Path.home()), sys.prefix, sys.base_prefix, tempfile.gettempdir() + "/"} - {"/", "/usr"}


def compilers() -> dict[str, dict[str, str]]:
    """Environment of the build by name of the compiler."""
    found: dict[str, dict[str, str]] = {"system": {}}
    zig = find_spec("ziglang")
    if sys.platform == "linux" and zig is not None and zig.origin is not None:
        # Its program, not python -m ziglang: pip hides the packages of this environment from the build. Debian's
        # Python keeps a part of its headers where only the compilers of the system look, and its LDSHARED has options
        # of the linker that zig refuses.
        compiler = f"{Path(zig.origin).with_name('zig')} cc -target {platform.machine()}-linux-gnu.2.17"
        found["zig"] = {"CC": f"{compiler} -idirafter /usr/include", "LDSHARED": f"{compiler} -shared"}
    else:
        print("zig: SKIPPED, it needs Linux and pip install ziglang", flush=True)
    return found


def call(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """Output of the command; where it fails, its output and its errors as an exception."""
    variables = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", **environment}
    done = subprocess.run(
        command, cwd=folder, env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def pythons() -> dict[str, Path]:
    """CPythons on the PATH and of pyenv that are new enough, by version (3.14t: free-threaded); this one first."""
    folders = [Path(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    folders += sorted((Path.home() / ".pyenv" / "versions").glob("*/bin"), reverse=True)
    found: dict[str, Path] = {}
    paths = [path for folder in folders for path in folder.glob("python3.*")]
    for path in [Path(sys.executable), *(path for path in paths if re.fullmatch(r"python3\.\d+t?(\.exe)?", path.name))]:
        asked = subprocess.run([path, "-c", VERSION], capture_output=True, text=True)
        if asked.returncode == 0 and asked.stdout:  # pyenv's stand-ins on the PATH fail
            found.setdefault(asked.stdout.strip(), path)
    return found


def check_archive(names: Sequence[str], contents: Iterator[bytes]) -> None:
    """Nothing generated and no path of this machine: for wheel and source archive alike."""
    for name, content in zip(names, contents, strict=True):
        assert Path(name).name not in {"_core.c", "_core.o"}, f"{name} is generated"
        found = [path for path in BUILD_PATHS if path.encode() in content]
        assert not found, f"{name} names {found}"


def check_wheel(wheel: Path) -> None:
    """Small, with nothing but the package, and with nothing of others inside."""
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        contents = [archive.read(name) for name in names]
    check_archive(names, iter(contents))
    strangers = [name for name in names if not re.match(r"fastmlp(-[^/]+\.dist-info)?/", name)]
    strangers += [name for name in names if Path(name).suffix in {".c", ".h", ".pyx"}]
    assert not strangers, f"{wheel.name} holds {strangers}"
    assert not any(re.search(rb"lib[gi]?omp\.so|libgomp", content) for content in contents), "an OpenMP runtime"
    assert wheel.stat().st_size < MAX_BYTES, f"{wheel.name} has {wheel.stat().st_size} bytes"


def check_readme(readme: Path) -> None:
    """As the package index shows it, which twine does not try: it can be shown, and no link needs the repository."""
    from readme_renderer.markdown import render

    page = render(readme.read_text(encoding="utf-8"))
    assert page, "the README cannot be shown"
    links = re.findall(r'(?:href|src)="(?!https://|#)([^"]*)"', page)
    assert not links, f"the README links to files of the repository: {links}"


def build_sdist(folder: Path) -> Path:
    """The source archive, built from the tree and unpacked nowhere near it."""
    check_readme(ROOT / "README.md")
    call(sys.executable, "-m", "build", "--sdist", "--outdir", folder, ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        check_archive([file.name for file in files], (archive.extractfile(file).read() for file in files))  # type: ignore[union-attr]
        archive.extractall(folder, filter="data")
    return sdist


def build_wheel(python: Path, sdist: Path, environment: dict[str, str], folder: Path) -> Path:
    """Build, repair and check; the path of the wheel."""
    raw = folder / "raw"
    call(python, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", raw, sdist, folder=folder, **environment)
    (wheel,) = raw.glob("*.whl")
    if sys.platform == "linux":
        call(sys.executable, "-m", "auditwheel", "repair", "--strip", "--wheel-dir", folder, wheel)
        (wheel,) = folder.glob("*.whl")
        assert not environment or re.search(OLD_TAGS, wheel.name), f"{wheel.name} needs a newer C library"
    check_wheel(wheel)
    call(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist)
    call("check-wheel-contents", wheel)
    return wheel


def try_wheel(scripts: Path, wheel: Path, sources: Path, folder: Path, with_tests: bool) -> str:
    """Install in an empty environment, run the README's example and, outside the tree, the tests; the last line."""
    call(scripts / "python", "-m", "pip", "install", wheel, folder=folder)
    (folder / "example.py").write_text(
        re.search(r"```python\n(.*?)```", (sources / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]  # type: ignore[index]
    )
    answer = f"the README's example prints {call(scripts / 'python', 'example.py', folder=folder).strip()}"
    call(scripts / "fastmlp", "--help", folder=folder)
    if not with_tests:
        return answer
    outside = folder / "outside"
    outside.mkdir()
    for name in TEST_FILES:
        (shutil.copytree if (sources / name).is_dir() else shutil.copy)(sources / name, outside / name)
    call(scripts / "python", "-m", "pip", "install", f"fastmlp[test] @ {wheel.as_uri()}", folder=folder)
    return f"{answer}; {call(scripts / 'python', '-m', 'pytest', '-q', folder=outside).splitlines()[-1]}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, or 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.wheel", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="for this Python only, and without the tests")
    parser.add_argument(
        "--only", default="", metavar="REGEX", help='only builds in whose names, as in "zig 3.14t", it is found'
    )
    parser.add_argument("--outdir", type=Path, default=ROOT / "dist", help="where the files go; default: dist")
    arguments = parser.parse_args(argv)
    failed = False
    with tempfile.TemporaryDirectory() as name:
        sdist = build_sdist(Path(name))
        sources = Path(name) / sdist.name.removesuffix(".tar.gz")
        keep, environments = [sdist], compilers()
        for version, python in [*pythons().items()][: 1 if arguments.quick else None]:
            for compiler, environment in environments.items():
                if not re.search(arguments.only, f"{compiler} {version}"):
                    continue
                folder = Path(tempfile.mkdtemp(dir=name))
                try:
                    call(python, "-m", "venv", folder / "env")  # an interpreter may come without pip
                    scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
                    wheel = build_wheel(scripts / "python", sdist, environment, folder)
                    result = try_wheel(scripts, wheel, sources, folder, not arguments.quick)
                    keep.append(wheel)
                    print(
                        f"{compiler} {version}: {wheel.name}, {wheel.stat().st_size / 1e6:.2f} MB; {result}", flush=True
                    )
                except (AssertionError, RuntimeError) as error:
                    failed = True
                    print(f"{compiler} {version}: FAILED\n{error}", flush=True)
        arguments.outdir.mkdir(exist_ok=True)
        for path in keep:
            shutil.copy(path, arguments.outdir)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
