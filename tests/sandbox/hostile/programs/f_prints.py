# row: F endless prints
# expect: EXECUTION_TIMEOUT
# limits: wall=0.7 output=1000
# output: 1000
while True:
    print("x" * 10_000, end="")
