# row: A deleted modules
# expect: CAPABILITY_ERROR|WORKER_CRASH
import sys
for name in list(sys.modules):
    sys.modules[name] = None
import json
