# row: A cffi
# expect: CAPABILITY_ERROR
import cffi
cffi.FFI().dlopen(None)
