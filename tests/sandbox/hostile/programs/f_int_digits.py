# row: F quadratic conversions
# expect: CAPABILITY_ERROR
int("1" * 10_000)
