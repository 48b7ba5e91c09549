# Put before programs that say `# with: attempts`. `through(name=attempt, ...)` gives the names of those that were not
# denied, with what happened instead. It runs inside the box: plain Python, nothing of ours.
import errno
import sys

_DENIED = {
    *(errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EMFILE, errno.EFBIG, errno.EAGAIN, errno.EAFNOSUPPORT),
    errno.ENOMEM,
}
_BOXED = sys.platform == "wasi"


def through(**attempts):
    return [f"{name}: {how}" for name, attempt in attempts.items() if (how := _tried(attempt))]


def _tried(attempt):
    try:
        attempt()
    except OSError as exc:
        # In WebAssembly there is nothing to find; natively only "you may not" counts.
        return "" if _BOXED or exc.errno in _DENIED else errno.errorcode.get(exc.errno or 0, repr(exc))
    except (ImportError, AttributeError, KeyError, RuntimeError, MemoryError) as exc:
        return "" if _BOXED or isinstance(exc, (RuntimeError, MemoryError)) else repr(exc)
    return "succeeded"


def raw(x86, arm, *words):
    """A system call by its number, with arguments that do no harm where it is allowed."""
    import ctypes
    import platform

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = x86 if platform.machine() in ("x86_64", "") else arm
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in words]
    if libc.syscall(ctypes.c_long(number), *words) < 0:
        raise OSError(ctypes.get_errno(), "raw")
