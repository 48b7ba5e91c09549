# row: A broken bytecode
# expect: WORKER_CRASH|CAPABILITY_ERROR|EXECUTION_TIMEOUT|MEMORY_LIMIT
# limits: wall=1
def f():
    return 1234
f.__code__ = f.__code__.replace(co_consts=(), co_stacksize=0, co_names=())
for _ in range(100):
    f()
1 / 0
