"""The demo and the broker say at once what this machine lacks, before anything is downloaded."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# What the scripts themselves run; everything else is faked, or not there.
PROGRAMS = ("bash", "dirname", "mkdir", "awk", "sed", "head", "cat", "env", "uname", "ls")
MIB = 1 << 10  # in the kilobytes of df
PYTHON = f"""
case "$1 $2" in
*"version_info <"*) exit {{old}} ;;
*ensurepip*) exit {{unable}} ;;
--version*) echo Python 3.9.2 ;;
"-m venv"*) echo downloads >>"$LOG"; exit 9 ;;
*) exec {sys.executable} "$@" ;;
esac
"""


class Machine:
    """A PATH with few programs on it, of which some are fakes, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name in PROGRAMS:
            found = shutil.which(name)
            assert found, name
            (self.programs / name).symlink_to(found)
        self.fake("df", disks(20_000 * MIB))

    def fake(self, name: str, script: str) -> None:
        """Put a program on the PATH that runs this script of the shell."""
        path = self.programs / name
        path.write_text(f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)

    def python(self, *, name: str = "python3", old: int = 0, unable: int = 0) -> None:
        """A Python that is too old, or cannot make environments, or refuses to make one."""
        self.fake(name, PYTHON.format(old=old, unable=unable))

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the project on this machine."""
        return subprocess.run(
            [str(ROOT / command[0]), *command[1:]],
            env={"PATH": str(self.programs), "HOME": str(self.folder), "LOG": str(self.folder / "log")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    @property
    def began(self) -> bool:
        """Whether the making of the environment began."""
        return (self.folder / "log").exists()


def disks(home_kb: int, temporary_kb: int | None = None) -> str:
    """A df of one file system, or of two."""
    other = "home" if temporary_kb is None else "memory"
    kb = home_kb if temporary_kb is None else temporary_kb
    return f"""
name=home free={home_kb}
case "$2" in /tmp) name={other} free={kb} ;; esac
echo "Filesystem 1024-blocks Used Available Capacity Mounted on"
echo "$name 999999999 1 $free 1% /the mount"
"""


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_the_demo_says_that_there_is_no_python(machine: Machine) -> None:
    ended = machine.run("deploy/demo")
    assert ended.returncode == 2
    assert "there is no python3; nextclick runs on Python 3.11 or later. do: install it" in ended.stderr


def test_the_demo_says_that_python_is_too_old(machine: Machine) -> None:
    machine.python(old=1)
    ended = machine.run("deploy/demo")
    assert ended.returncode == 2
    assert "python3 is Python 3.9.2; nextclick runs on Python 3.11 or later. do: install" in ended.stderr


def test_the_demo_takes_a_newer_python_beside_one_that_is_too_old(machine: Machine) -> None:
    machine.python(old=1)
    machine.python(name="python3.12", unable=1)
    ended = machine.run("deploy/demo")
    assert ended.returncode == 2
    assert "python3.12 cannot make virtual environments" in ended.stderr


def test_the_demo_says_that_venv_is_missing_with_the_package_that_has_it(machine: Machine) -> None:
    machine.python(unable=1)
    ended = machine.run("deploy/demo")
    assert ended.returncode == 2
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert "cannot make virtual environments" in ended.stderr
    assert f"sudo apt-get install python{version}-venv" in ended.stderr
    assert not machine.began


@pytest.mark.parametrize(
    ("df", "said"),
    [
        (disks(6_000 * MIB), "6000 MB are free; the environment with its downloads takes"),
        (disks(6_000 * MIB, 9_000 * MIB), "6000 MB are free; the environment takes"),
        (disks(9_000 * MIB, 1_000 * MIB), "where /tmp is to be, 1000 MB are free; what pip keeps"),
    ],
)
def test_the_demo_says_that_the_disk_is_too_small(machine: Machine, df: str, said: str) -> None:
    machine.python()
    machine.fake("df", df)
    ended = machine.run("deploy/demo")
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert said in line
    assert "do: free some, or name another place in " in line
    assert not machine.began


def test_the_demo_says_everything_that_is_missing_at_once(machine: Machine) -> None:
    machine.python(unable=1)
    machine.fake("df", disks(10 * MIB))
    ended = machine.run("deploy/demo")
    assert [line[:7] for line in ended.stderr.splitlines()] == ["error: ", "error: "]


def test_the_demo_goes_on_where_nothing_is_missing(machine: Machine) -> None:
    machine.python()
    ended = machine.run("deploy/demo")
    assert machine.began, ended.stderr
    assert "making the environment" in ended.stderr


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ('openjdk version "11.0.20" 2023-07-18', "is Java 11"),
        ('java version "1.8.0_412"', "is Java 1"),
        ("The operation could not be completed", "is Java of an unknown release"),
    ],
)
def test_the_broker_says_that_java_is_too_old(machine: Machine, version: str, said: str) -> None:
    machine.fake("java", f"echo '{version}' >&2")
    ended = machine.run("deploy/kafka.sh", "start", "--dir", str(machine.folder / "kafka"))
    assert ended.returncode == 2
    assert said in ended.stderr
    assert "Kafka runs on Java 17 or later." in ended.stderr


def test_the_broker_says_that_there_is_no_java_and_no_maven(machine: Machine) -> None:
    machine.fake("python3", f'exec {sys.executable} "$@"')
    start = ("deploy/kafka.sh", "start", "--dir", str(machine.folder / "kafka"))
    assert "java is not installed" in machine.run(*start).stderr
    machine.fake("java", "echo 'openjdk version \"21.0.2\"' >&2")
    assert "mvn is not installed" in machine.run(*start).stderr
