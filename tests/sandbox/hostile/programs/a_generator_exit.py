# row: A reload
# expect: CAPABILITY_ERROR
raise GeneratorExit
