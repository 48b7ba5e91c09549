# row: A replaced json
# expect: ok|CAPABILITY_ERROR|RESULT_NOT_JSON|WORKER_CRASH
import builtins
builtins.len = lambda x: -1
builtins.isinstance = lambda *a: True
builtins.str = builtins.type = builtins.list = lambda *a: "lie"
1
