# row: B ignored signals
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
import signal
try:
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
except Exception:
    pass
while True:
    pass
