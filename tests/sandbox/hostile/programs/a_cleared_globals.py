# row: A deleted modules
# expect: CAPABILITY_ERROR|WORKER_CRASH|EXECUTION_TIMEOUT|PROTOCOL_ERROR
# limits: wall=1
import gc
for each in gc.get_objects():
    if isinstance(each, dict):
        each.clear()
1 / 0
