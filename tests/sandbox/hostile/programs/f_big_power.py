# row: F big integers
# expect: EXECUTION_TIMEOUT|MEMORY_LIMIT
# limits: wall=0.5
10 ** (10 ** 8)
