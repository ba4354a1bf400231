"""What happens when work on a chain fails halfway: the chain is mended from its disk, once, or it is broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from manaflow.errors import Failure, StorageFailure


class BegunAnew(Failure):
    """What was asked for has failed and is given up; the node goes on from what its disk holds."""


class Mending:
    """Work that must be done whole. One thread."""

    def __init__(self) -> None:
        self.broken: BaseException | None = None
        """What nothing could mend."""
        self._is_inside = False

    @contextmanager
    def whole(self, mend: Callable[[], None], *allowed: type[Exception]) -> Iterator[None]:
        """What is cut short inside leaves parts at odds, but by `allowed`. Work inside other work is part of that.

        mend: puts the parts in order; if it fails too, or the disk has failed, that is the end. Raises BegunAnew if
        they are mended; Failure if they are broken.
        """
        if self.broken is not None:
            raise Failure(f"the node has failed: {self.broken}")
        if self._is_inside:
            yield
            return
        self._is_inside = True
        try:
            yield
        except allowed:
            raise
        except (StorageFailure, OSError) as error:
            self.broken = error
            raise
        except Exception as error:
            self._mend(error, mend)
            raise BegunAnew(f"given up, and the node goes on: {error}") from error
        except BaseException as error:
            self.broken = error
            raise
        finally:
            self._is_inside = False

    def _mend(self, error: Exception, mend: Callable[[], None]) -> None:
        structlog.get_logger("manaflow.node").error("begun_anew", why=repr(error))
        try:
            mend()
        except BaseException as second:
            self.broken = second
            raise
