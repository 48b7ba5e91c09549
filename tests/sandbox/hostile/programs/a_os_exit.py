# row: A reload
# expect: CAPABILITY_ERROR|WORKER_CRASH
import os
os._exit(0)
