# row: F hash collisions
# expect: EXECUTION_TIMEOUT
# limits: wall=0.5
modulus = 2**61 - 1 if __import__("sys").maxsize > 2**32 else 2**31 - 1
len({n * modulus for n in range(10**6)})
