# row: A ctypes
# wasm: CAPABILITY_ERROR
# process: WORKER_CRASH|EXECUTION_TIMEOUT
# limits: wall=2
import ctypes
ctypes.memset(ctypes.CDLL(None)._handle, 0, 1 << 20)
while True:
    ctypes.string_at(8)
