# row: F growing bytearray
# wasm: MEMORY_LIMIT
# process: MEMORY_LIMIT
# red: rlimits
len(bytearray(300 << 20))
