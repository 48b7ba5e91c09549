# row: F big source
# expect: VALIDATION_ERROR
# pad: 10000000
1
