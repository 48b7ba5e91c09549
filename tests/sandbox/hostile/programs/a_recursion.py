# row: A recursion
# expect: WORKER_CRASH|CAPABILITY_ERROR|MEMORY_LIMIT
import sys
sys.setrecursionlimit(10**9 if sys.maxsize > 2**32 else 10**6)
def f(n):
    return f(n + 1) + 1
f(0)
