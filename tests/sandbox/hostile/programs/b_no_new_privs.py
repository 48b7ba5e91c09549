# row: B set-user-id programs
# wasm: CAPABILITY_ERROR
# process: value 1
# red: no_new_privs given landlock seccomp
import ctypes
ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) if ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) >= 0 else 1
