"""How a node logs: one JSON object a line, or for people at a terminal. Called once, by the command that runs it."""

from __future__ import annotations

import sys

import structlog


def configure_logging(*, as_json: bool) -> None:
    """To stderr: time in UTC, level, event, fields; tracebacks without the values of variables, which may be secret."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[*shared, last],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
