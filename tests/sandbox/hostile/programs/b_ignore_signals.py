# row: B ignored signals
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
import signal
for n in set(range(1, 32)):
    try:
        signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
