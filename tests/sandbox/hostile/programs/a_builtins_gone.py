# row: A replaced json
# expect: CAPABILITY_ERROR|WORKER_CRASH|ok
import builtins
for name in dir(builtins):
    if name not in ("print",):
        try:
            delattr(builtins, name)
        except BaseException:
            pass
1
