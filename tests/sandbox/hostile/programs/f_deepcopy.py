# row: F deepcopy of cycles
# expect: ok|CAPABILITY_ERROR|WORKER_CRASH|MEMORY_LIMIT
import copy
x = []
for _ in range(3000):
    x = [x, x]
len(copy.deepcopy(x))
