# row: F growing bytearray
# wasm: CAPABILITY_ERROR
# process: value true
import mmap
kept = []
try:
    for _ in range(1000):
        kept.append(mmap.mmap(-1, 1 << 20, flags=0x22))
        kept[-1].write(b"x" * (1 << 20))
except (OSError, MemoryError):
    pass
len(kept) < 400
