# row: F big results
# expect: RESULT_LIMIT|MEMORY_LIMIT
"x" * (5 * 10**7)
