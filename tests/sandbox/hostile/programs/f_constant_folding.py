# row: F nested parentheses
# expect: MEMORY_LIMIT|EXECUTION_TIMEOUT|CAPABILITY_ERROR
# limits: wall=1
x = ((((1 << 4000) ** 8) << 4000) ** 16) ** 16
x ** 10**5
