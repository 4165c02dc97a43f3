#!/usr/bin/python3
"""Runs clang-format 19 and clang-tidy 19 on the C++ files that a build knows.

usage: check_clang.py format | coroutines | changed [BASE]

format       every file is as clang-format leaves it
coroutines   the short list of checks, above all those on coroutines, on every source
changed      the long list of .clang-tidy on the sources changed since BASE (default: where this
             branch left origin/main, else the commit before)

The compile commands are those of the build directory NURSERY_BUILD (default: build/release).
"""

import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import sources

ROOT = pathlib.Path(__file__).parents[2].resolve()
BUILD = pathlib.Path(os.environ.get("NURSERY_BUILD", ROOT / "build" / "release"))
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


def compiled_sources():
    """The project's sources that the build compiles; generated ones are not ours to check."""
    commands = json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))
    known = set(cpp_files())
    paths = (pathlib.Path(entry["file"]) for entry in commands)
    relative = (str(path.relative_to(ROOT)) for path in paths if path.is_relative_to(ROOT))
    return sorted(known.intersection(relative))


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


def run_each(command, paths):
    """Runs the command on every path, prints what fails, gives the number of failures."""
    def run(path):
        return path, subprocess.run(
            [*command, path], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    failures = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, done in pool.map(run, paths):
            if done.returncode != 0:
                failures += 1
                print(f"{path}: {' '.join(command[:1])} exits with {done.returncode}")
                print(done.stdout)
    return failures


def tidy_command(*arguments):
    return ["clang-tidy-19", "--quiet", "-p", str(BUILD), *arguments]


def main(mode, base=None):
    if mode == "format":
        paths, command = cpp_files(), ["clang-format-19", "--dry-run", "-Werror"]
    elif mode == "coroutines":
        paths = compiled_sources()
        command = tidy_command(f"--checks={SHORT_LIST}", "--warnings-as-errors=*")
    elif mode == "changed":
        base = base or default_base()
        if base is None:
            print("there is no commit to compare with: nothing has changed")
            return 0
        changed = set((git("diff", "--name-only", base) or "").split("\n"))
        paths, command = changed_sources(changed, compiled_sources()), tidy_command()
    else:
        print(__doc__)
        return 2
    failures = run_each(command, paths)
    print(f"{mode}: {len(paths)} files, {failures} with findings")
    # Files may all be unchanged, but a project without files is a mistake of this script.
    return 1 if failures or (mode != "changed" and not paths) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 1 else main(""))
