"""Coverage-guided fuzzing of one decoder: `python -m tests.fuzz.fuzz TARGET [FOLDER...] [libFuzzer's options]`.

Needs atheris (`make fuzz` installs it). What it finds is written as crash-* where -artifact_prefix says; once it is
understood and mended it belongs into the corpus, under a name that begins with finding-.
"""

from __future__ import annotations

import sys
from random import Random

import atheris

with atheris.instrument_imports(include=["manaflow", "tests.fuzz.targets"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer's options say that it is enough. Exit code 0: nothing was found."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name not in TARGETS:
        sys.exit(f"usage: python -m tests.fuzz.fuzz TARGET ...; targets: {', '.join(TARGETS)}")
    target = TARGETS[name]

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        """Ours keep checksums and lengths right; libFuzzer's know what is compared with what."""
        rng = Random(seed)
        if rng.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        return target.mutate(bytes(data), rng)[:max_size]

    def run(data: bytes) -> None:
        target.run(data)

    atheris.Setup(sys.argv, run, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
