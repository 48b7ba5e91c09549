# row: E scheduler
# row: E nice
# with: attempts
import os
through(sched=lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)), nice=lambda: os.nice(0) and None)
