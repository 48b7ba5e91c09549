# row: B double fork
# wasm: CAPABILITY_ERROR
# process: value 9
# red: pdeathsig given seccomp
import ctypes
word = ctypes.c_int(0)
9 if ctypes.CDLL(None).prctl(2, ctypes.byref(word), 0, 0, 0) < 0 else word.value
