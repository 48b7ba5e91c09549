# row: C TIOCSTI
# with: attempts
def type_for_user():
    import fcntl
    try:
        fcntl.ioctl(0, 0x5412, b"x")
    except OSError as exc:
        if exc.errno != 25:
            raise
through(type_for_user=type_for_user)
