"""Ethereum's official state tests through the whole pipeline: genesis, fill, import, isolated re-execution."""
