"""Packs the API for AWS Lambda: the same sources give the same bytes, whoever packs them and whenever.

`make lambda` runs it. Wheels are those of `api/requirements.lock`, checked by their hashes; they are unpacked,
never installed, since installing compiles, and what is compiled holds times.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parent
MAX_UNPACKED_BYTES: Final = 250 * 1024 * 1024
"""What Lambda takes, unpacked (its quota for a function with its layers)."""

RDS_AUTHORITIES: Final = ROOT / "iac" / "database" / "rds-ca-rsa2048-g1.pem"
"""By which the function sees who its database is; it finds the file as /var/task/rds-ca.pem."""

AWS_SERVICES: Final = frozenset({"ecs", "kms", "s3", "secretsmanager", "sts"})
"""Those that the API calls. The descriptions of 400 others would make it too large for one upload."""

_LAMBDA_PYTHON: Final = "3.13"
_WHEELS_OF_DATA: Final = ("purelib", "platlib")
_TIME: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_MODE: Final = 0o100644 << 16


class PackageError(Exception):
    """The package cannot be made; the text says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Pack, and say what came out."""
    parser = argparse.ArgumentParser(description="Pack the REST API for AWS Lambda.")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "smartdrive-api-lambda.zip")
    parser.add_argument("--machine", choices=("aarch64", "x86_64"), default="aarch64")
    parser.add_argument("--python", default=_LAMBDA_PYTHON, help="version of the runtime, for example 3.13")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "wheels")
    given = parser.parse_args(arguments)
    try:
        wheels = fetch(given.cache / f"{given.machine}-{given.python}", given.machine, given.python)
        with tempfile.TemporaryDirectory() as folder:
            unpacked = pack([*wheels, build(Path(folder))], given.output, {"rds-ca.pem": RDS_AUTHORITIES})
    except PackageError as error:
        print(f"package_lambda: {error}", file=sys.stderr)  # noqa: T201 - a command
        return 1
    packed = given.output.read_bytes()
    print(  # noqa: T201
        f"{given.output}: {len(packed) / 1e6:.1f} MB, unpacked {unpacked / 1e6:.1f} MB, "
        f"sha256 {hashlib.sha256(packed).hexdigest()}"
    )
    return 0


def fetch(cache: Path, machine: str, python: str) -> list[Path]:
    """The locked wheels for a runtime, downloaded unless they are in the cache.

    Args:
        cache: of this machine and version of Python alone; emptied when the lock has changed.
        machine: as manylinux calls it.
        python: version, `3.13`.

    Raises:
        PackageError: pip refused one, for example because its hash is another.
    """
    lock = HERE / "requirements.lock"
    stamp = cache / "lock.sha256"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text() != digest:
        shutil.rmtree(cache, ignore_errors=True)
        cache.mkdir(parents=True)
        platforms = [
            f"--platform={tag}_{machine}" for tag in ("manylinux_2_28", "manylinux_2_17", "manylinux2014")
        ]
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes", "--implementation=cp"]
        place = [f"--python-version={python}", f"--requirement={lock}", f"--dest={cache}"]
        _run([sys.executable, "-m", "pip", "download", *options, *platforms, *place])
        stamp.write_text(digest)
    return sorted(cache.glob("*.whl"))


def build(folder: Path) -> Path:
    """The wheel of the API itself.

    Raises:
        PackageError: hatchling refused.
    """
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    _run(command, cwd=HERE)
    (wheel,) = folder.glob("*.whl")
    return wheel


def pack(wheels: Sequence[Path], output: Path, others: Mapping[str, Path]) -> int:
    """Write one archive of all files of some wheels and some others by name, sorted, with one time and one mode.

    Returns:
        Bytes unpacked.

    Raises:
        PackageError: two wheels hold the same file with other content, or all of it is more than Lambda takes.
    """
    files = {name: path.read_bytes() for name, path in others.items()}
    for wheel in wheels:
        for name, content in _files(wheel):
            if files.setdefault(name, content) != content:
                raise PackageError(f"{wheel.name} brings another {name} than a wheel before it")
    unpacked = sum(map(len, files.values()))
    if unpacked > MAX_UNPACKED_BYTES:
        raise PackageError(f"{unpacked} bytes unpacked: Lambda takes {MAX_UNPACKED_BYTES}")
    output.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.create_system, entry.external_attr = 3, _MODE
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED)
    return unpacked


def _files(wheel: Path) -> Iterator[tuple[str, bytes]]:
    """What a wheel puts beside the handler; scripts and manuals stay out."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            top, _, rest = name.partition("/")
            if name.endswith("/") or _describes_another_service(name):
                continue
            if top.endswith(".data"):
                kind, _, name = rest.partition("/")  # noqa: PLW2901
                if kind not in _WHEELS_OF_DATA:
                    continue
                yield name, archive.read(f"{top}/{rest}")
            else:
                yield name, archive.read(name)


def _describes_another_service(name: str) -> bool:
    match name.split("/"):
        case ["botocore", "data", service, _, *_]:
            return service not in AWS_SERVICES
    return False


def _run(command: Sequence[str], cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise PackageError(f"{' '.join(command[1:4])} failed:\n{done.stderr.strip()}")


if __name__ == "__main__":
    raise SystemExit(main())
