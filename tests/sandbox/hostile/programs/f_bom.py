# row: F bad text in prints
# expect: CAPABILITY_ERROR
exec(b"\xef\xbb\xbfx = 1".decode("utf-8-sig")), eval("\ufeff1")
1
