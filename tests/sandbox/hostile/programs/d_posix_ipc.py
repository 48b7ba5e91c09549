# row: D POSIX IPC
# with: attempts
through(queue=lambda: raw(240, 180, b"belljar-none", 0, 0, 0), shared=lambda: __import__("mmap").mmap(-1, 4096).close())
