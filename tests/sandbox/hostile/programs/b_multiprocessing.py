# row: B double fork
# expect: CAPABILITY_ERROR
import multiprocessing
multiprocessing.Pool(2).map(abs, [1])
