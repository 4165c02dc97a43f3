#!/usr/bin/python3
"""Runs clang-format 19 and clang-tidy 19 on the C++ files that a build knows.

usage: check_clang.py format | coroutines | changed [BASE]

format       every file is as clang-format leaves it
coroutines   the short list of checks, above all those on coroutines, on every source
changed      the long list of .clang-tidy on the sources changed since BASE (default: where this
             branch left origin/main, else the commit before)

The compile commands are those of the build directory NURSERY_BUILD (default: build/release), one
for each source, however many targets compile it. own_code.cc, built there too, keeps clang-tidy
from what the system's headers declare, which would take most of its time. A source that was found
clean is not looked at again until something that it is compiled from changes.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import sources

ROOT = pathlib.Path(__file__).parents[2].resolve()
BUILD = pathlib.Path(os.environ.get("NURSERY_BUILD", ROOT / "build" / "release"))
OWN_CODE = BUILD / "tests" / "own_code.so"
# On every file, so only what is quick and never a matter of taste.
SHORT_LIST = ",".join((
    "-*",
    "cppcoreguidelines-avoid-capturing-lambda-coroutines",
    "misc-coroutine-hostile-raii",
    "bugprone-dangling-handle",
    "bugprone-use-after-move",
    "bugprone-unused-raii",
    "google-explicit-constructor",
))


def cpp_files():
    return [source.path for source in sources.read_sources(ROOT) if source.is_cpp]


def compile_commands():
    """The first command that compiles each of the project's sources; generated ones are not ours.

    Writes them to where tidy_command() has clang-tidy look for them.
    """
    entries = json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))
    known = set(cpp_files())
    commands = {}
    for entry in entries:
        path = pathlib.Path(entry["file"])
        if path.is_relative_to(ROOT) and str(path.relative_to(ROOT)) in known:
            commands.setdefault(str(path.relative_to(ROOT)), entry)
    directory = BUILD / "tidy"
    directory.mkdir(exist_ok=True)
    text = json.dumps(list(commands.values()), indent=1)
    (directory / "compile_commands.json").write_text(text, encoding="utf-8")
    return commands


class CleanCache:
    """Remembers which sources a command has found clean, by all that they are compiled from.

    Project files count by their content, so that another checkout shares what was found; those of
    the system by size and time.
    """

    def __init__(self, command, commands, directory):
        self.commands = commands
        self.directory = directory
        self.dependencies = read_dependencies()
        version = subprocess.run([command[0], "--version"], capture_output=True, text=True).stdout
        config = (ROOT / ".clang-tidy").read_text(encoding="utf-8")
        plugin = pathlib.Path(__file__).with_name("own_code.cc").read_text(encoding="utf-8")
        self.common = self.portable(f"{version}{config}{plugin}{command}")
        self.file_keys = {}
        directory.mkdir(parents=True, exist_ok=True)

    @staticmethod
    def portable(text):
        return text.replace(str(BUILD), "BUILD").replace(str(ROOT), "ROOT")

    def file_key(self, path):
        if path not in self.file_keys:
            if pathlib.Path(path).is_relative_to(ROOT):
                key = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
            else:
                status = os.stat(path)
                key = f"{status.st_size} {status.st_mtime_ns}"
            self.file_keys[path] = f"{self.portable(path)} {key}"
        return self.file_keys[path]

    def entry(self, path):
        """The file that says that `path` is clean; None when its dependencies are not known."""
        compile_command = self.commands[path]["command"]
        words = compile_command.split()
        files = self.dependencies.get(words[words.index("-o") + 1])
        if not files:
            return None
        headers = [self.file_key(file) for file in files if not file.endswith(".pch")]
        text = "\n".join((self.common, self.portable(compile_command), *headers))
        return self.directory / hashlib.sha256(text.encode()).hexdigest()


def read_dependencies():
    """The files that each object of the build was compiled from, as ninja recorded them."""
    done = subprocess.run(["ninja", "-C", BUILD, "-t", "deps"], capture_output=True, text=True)
    dependencies, current = {}, []
    for line in done.stdout.splitlines():
        if line.startswith(" "):
            current.append(os.path.normpath(BUILD / line.strip()))
        elif ": #deps" in line and line.endswith("(VALID)"):
            current = dependencies[line.split(":", 1)[0]] = []
    return dependencies


def git(*arguments):
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def default_base():
    merge_base = git("merge-base", "HEAD", "origin/main")
    if merge_base and merge_base != git("rev-parse", "HEAD"):
        return merge_base
    return git("rev-parse", "HEAD~1")


def changed_sources(changed, compiled):
    """The compiled sources that changed; for a changed header its own source and test."""
    stems = {pathlib.Path(path).stem for path in changed if path.endswith(".h")}
    own = stems | {f"{stem}_test" for stem in stems}
    return [path for path in compiled if path in changed or pathlib.Path(path).stem in own]


def run_each(command, paths, cache=None):
    """Runs the command on every path, prints what fails, gives the number of failures."""
    def run(path):
        clean = cache.entry(path) if cache else None
        if clean and clean.exists():
            return path, None
        done = subprocess.run(
            [*command, path], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        if clean and done.returncode == 0:
            clean.touch()
        return path, done

    failures = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, done in pool.map(run, paths):
            if done and done.returncode != 0:
                failures += 1
                print(f"{path}: {' '.join(command[:1])} exits with {done.returncode}")
                print(done.stdout)
    return failures


def tidy_command(*arguments):
    return ["clang-tidy-19", "--quiet", f"--load={OWN_CODE}", "-p", str(BUILD / "tidy"), *arguments]


def cache_directory():
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "nursery-tidy"


def main(mode, base=None):
    cache = None
    if mode == "format":
        paths, command = cpp_files(), ["clang-format-19", "--dry-run", "-Werror"]
    elif mode == "coroutines":
        commands = compile_commands()
        paths = sorted(commands)
        command = tidy_command(f"--checks={SHORT_LIST}", "--warnings-as-errors=*")
        cache = CleanCache(command, commands, cache_directory())
    elif mode == "changed":
        base = base or default_base()
        if base is None:
            print("there is no commit to compare with: nothing has changed")
            return 0
        changed = set((git("diff", "--name-only", base) or "").split("\n"))
        commands = compile_commands()
        paths, command = changed_sources(changed, sorted(commands)), tidy_command()
        cache = CleanCache(command, commands, cache_directory())
    else:
        print(__doc__)
        return 2
    failures = run_each(command, paths, cache)
    print(f"{mode}: {len(paths)} files, {failures} with findings")
    # Files may all be unchanged, but a project without files is a mistake of this script.
    return 1 if failures or (mode != "changed" and not paths) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 1 else main(""))
