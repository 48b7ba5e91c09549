# row: G forged call ids
# expect: PROTOCOL_ERROR|CAPABILITY_ERROR
# made: 0
mcp._wire._host.step('[[%d,"lab","write","{}",1]]' % 10**30, 1000)
1
