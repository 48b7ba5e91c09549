# row: A reload
# expect: WORKER_CRASH|CAPABILITY_ERROR
import os
os.abort()
