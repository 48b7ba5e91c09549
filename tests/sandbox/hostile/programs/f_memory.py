# row: F big lists
# expect: MEMORY_LIMIT
# red: limit memory=700MiB
len(bytearray(300 << 20))
