# row: F big lists
# expect: MEMORY_LIMIT
len([0] * 10**9)
