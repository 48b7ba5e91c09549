# row: F nested parentheses
# expect: SYNTAX_ERROR|MEMORY_LIMIT|WORKER_CRASH|CAPABILITY_ERROR
eval("(" * 100_000 + ")" * 100_000)
1 / 0
