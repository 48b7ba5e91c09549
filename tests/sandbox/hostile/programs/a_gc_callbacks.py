# row: A hunt for tokens
# expect: ok|CAPABILITY_ERROR|EXECUTION_TIMEOUT
# limits: wall=1
import gc
gc.callbacks.append(lambda *a: 1 / 0)
gc.set_threshold(1)
x = [[] for _ in range(1000)]
gc.unfreeze()
gc.collect()
1
