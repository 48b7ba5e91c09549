# row: B ptrace
# wasm: CAPABILITY_ERROR
# process: value 0
# red: undumpable given seccomp ids
import ctypes
max(0, ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
