# row: H secrets in plain
# secret: plain
# expect: CAPABILITY_ERROR
raise RuntimeError("could not log in with token " + args["secret"])
