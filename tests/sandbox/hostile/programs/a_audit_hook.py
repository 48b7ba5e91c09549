# row: A audit hook
# expect: ok|CAPABILITY_ERROR|WORKER_CRASH|EXECUTION_TIMEOUT
# limits: wall=1
import sys
def hook(event, args):
    raise RuntimeError("hooked " + event)
sys.addaudithook(hook)
compile("1", "x", "eval")
