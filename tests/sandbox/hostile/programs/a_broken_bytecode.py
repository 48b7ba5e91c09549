# row: A broken bytecode
# expect: WORKER_CRASH|CAPABILITY_ERROR|EXECUTION_TIMEOUT|MEMORY_LIMIT
# limits: wall=1
f = lambda: 0
f.__code__ = f.__code__.replace(co_code=bytes(range(200)) * 2)
f()
1 / 0
