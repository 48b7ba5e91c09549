# row: G frames that break msgpack
# expect: RESULT_NOT_JSON|CAPABILITY_ERROR|PROTOCOL_ERROR|ok
10 ** 4000
