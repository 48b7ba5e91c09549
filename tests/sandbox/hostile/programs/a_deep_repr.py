# row: A recursion
# expect: WORKER_CRASH|CAPABILITY_ERROR|MEMORY_LIMIT
import sys
sys.setrecursionlimit(10**6)
x = []
for _ in range(10**5):
    x = [x]
repr(x)
1 / 0
