# row: A settrace
# expect: value 2
import sys, threading
seen = []
def trace(frame, event, arg):
    seen.append(event)
    frame.f_trace_opcodes = True
    return trace
sys.settrace(trace)
sys.setprofile(lambda *_: None)
threading.settrace(trace)
def f():
    return 1 + 1
f()
