# row: H boot id
# expect: value true
import time, random, uuid, os
time.time() > 1e9 and random.random() != random.random() and len({uuid.uuid4() for _ in range(5)}) == 5 and os.urandom(8) != os.urandom(8)
