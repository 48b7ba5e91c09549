# row: A ctypes
# wasm: value "ImportError"
# process: value "denied"
# red: seccomp given landlock
try:
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.open(b"/etc/passwd", 0)
    said = "denied" if descriptor < 0 and ctypes.get_errno() in (1, 13) else "succeeded"
except ImportError:
    said = "ImportError"
said
