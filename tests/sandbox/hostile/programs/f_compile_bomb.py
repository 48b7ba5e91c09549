# row: F nested parentheses
# expect: MEMORY_LIMIT|EXECUTION_TIMEOUT|WORKER_CRASH|CAPABILITY_ERROR
# limits: wall=1
compile("x = " + "-" * 50_000 + "1", "x", "exec")
eval("lambda: " * 5_000 + "1")
while True:
    exec(compile("(1,) * 10 ** 9", "x", "eval"))
