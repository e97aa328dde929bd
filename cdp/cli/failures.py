"""What a user sees when a command cannot go on: a code, a cause, a way out; a traceback only for who asks for one."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from cdp.cli.output import Output
from cdp.cli.signals import Stopped
from cdp.errors import CdpError


def guarded(out: Output, work: Callable[[], int]) -> int:
    """The exit code of `work`; whatever it raises is said in our words and becomes an exit code."""
    try:
        return work()
    except CdpError as error:
        _traceback(out)
        return out.failed(error)
    except KeyboardInterrupt as error:
        code = error.exit_code if isinstance(error, Stopped) else 130
        _traceback(out)
        return _interrupted(out, code)
    except BrokenPipeError:
        return 141
    except OSError as error:
        _traceback(out)
        place = f"{error.filename}: " if error.filename else ""
        hint = "is the disk full, or the folder not writable?"
        return out.failed(CdpError("CDP192", f"{place}{error.strerror or error}", hint=hint))
    except Exception as error:  # a fault of ours: the one place where everything is caught
        _traceback(out)
        said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        hint = "--log-level debug shows where; please report it with the version, the command and that text"
        return out.failed(CdpError("CDP199", f"a fault in cdp itself: {said[:2000]}", hint=hint))


def _interrupted(out: Output, code: int) -> int:
    error = CdpError("CDP191", "interrupted; what was done is recorded", hint="run the same command again to go on")
    error.exit_code = code
    return out.failed(error)


def _traceback(out: Output) -> None:
    out.log(traceback.format_exc(), "debug")
