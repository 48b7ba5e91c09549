# row: F big source
# expect: VALIDATION_ERROR
# limits: code=1000
# pad: 2000
# red: limit code=10000
"small"
