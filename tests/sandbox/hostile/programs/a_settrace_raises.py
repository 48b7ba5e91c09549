# row: A settrace
# expect: ok|CAPABILITY_ERROR|WORKER_CRASH
import sys
def trace(frame, event, arg):
    raise SystemExit("no")
sys.settrace(trace)
print("x")
