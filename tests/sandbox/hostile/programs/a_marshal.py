# row: A broken bytecode
# expect: WORKER_CRASH|CAPABILITY_ERROR|MEMORY_LIMIT
# limits: wall=2
import marshal
for n in range(2000):
    try:
        marshal.loads(bytes((n * 7 + k * 13) % 256 for k in range(n % 60)))
    except (ValueError, EOFError, TypeError):
        pass
raise RuntimeError("it held")
