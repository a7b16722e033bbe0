"""A program of the image, run as deploy/compose.yaml and deploy/kubernetes say.

Its user, no capability, no new privileges, a root file system that cannot be written, /tmp in memory, volumes
that are its user's. Without an engine: by mounts of its own, chroot and setpriv. It stays in this machine's
network and among its processes. Tested by `./deploy/image/check`.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Of a Dockerfile's USER, by number: a name would have to be looked up in the image.
SEPARATOR = ":"
ENTER = """
root=$1 tmp_size=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o "size=$tmp_size,mode=1777" tmpfs "$root/tmp"
mount -o remount,ro,bind "$root"
exec chroot "$root" "$@"
"""


class Container:
    """Programs in a root file system with the configuration of its image.

    `volumes` are folders of the image → folders here, which are made, and made its user's.
    """

    def __init__(self, root: Path, config: Mapping[str, Any], volumes: Mapping[str, Path]) -> None:
        self._root = root
        self._config = config
        self._volumes = volumes
        self.user, _, group = config["User"].partition(SEPARATOR)
        self._group = group or self.user
        for path in volumes.values():
            path.mkdir(parents=True, exist_ok=True)
            os.chown(path, int(self.user), int(self._group))

    def health_check(self) -> list[str]:
        """The image's own health check as words of a command."""
        test: list[str] = self._config["Healthcheck"]["Test"]
        kind, *words = test
        assert kind == "CMD", f"the health check is a {kind}"
        return words

    def start(
        self, words: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> subprocess.Popen[bytes]:
        """Start a command of the image's entry point; its words are appended to `log`."""
        with log.open("ab") as file:
            return subprocess.Popen(
                self._words([*self._config["Entrypoint"], *words], environment),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def run(self, words: Sequence[str], environment: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a program of the image to its end. Returns its exit code, and what it has said."""
        done = subprocess.run(
            self._words(words, environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def _words(self, words: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        given = dict(line.partition("=")[::2] for line in self._config["Env"])
        variables = [f"{name}={value}" for name, value in {**given, **environment}.items()]
        volumes = [word for inside, here in self._volumes.items() for word in (str(here), inside)]
        return [
            *("unshare", "--mount", "sh", "-ec", ENTER, "sh", str(self._root), "512m", *volumes, "--"),
            # As the image's user, who cannot become another, whatever a program's file may say.
            *("setpriv", f"--reuid={self.user}", f"--regid={self._group}", "--clear-groups"),
            *("--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"),
            *("env", "-i", f"--chdir={self._config['WorkingDir']}", *variables, *words),
        ]
