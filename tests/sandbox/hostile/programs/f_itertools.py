# row: F endless loop
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
import collections, itertools
collections.deque(itertools.repeat(0), maxlen=0)
