# row: A recursion
# expect: CAPABILITY_ERROR|WORKER_CRASH|MEMORY_LIMIT
group = ValueError("\x1b[31mred")
for n in range(5000):
    group = ExceptionGroup("g", [group])
raise group
