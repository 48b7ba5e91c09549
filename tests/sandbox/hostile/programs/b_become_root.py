# row: B set-user-id programs
# wasm: CAPABILITY_ERROR
# process: value -1
# red: ids given seccomp
import ctypes
ctypes.CDLL(None).setresuid(0, 0, 0)
