# row: A settrace
# expect: ok|CAPABILITY_ERROR|WORKER_CRASH|PROTOCOL_ERROR
import sys
frame = sys._getframe()
while frame.f_back is not None:
    frame = frame.f_back
    for name in list(frame.f_locals):
        frame.f_locals[name] = None
    for name in [n for n in frame.f_globals if not n.startswith("__")]:
        frame.f_globals[name] = None
1
