# row: D 127.0.0.1
# row: D 169.254.169.254
# with: attempts
import socket
def to(host):
    def attempt():
        with socket.socket() as client:
            client.settimeout(0.2)
            try:
                client.connect((host, 9))
            except (ConnectionRefusedError, TimeoutError):
                pass
            except OSError as exc:
                if exc.errno not in (101, 113):
                    raise
    return attempt
through(loopback=to("127.0.0.1"), metadata=to("169.254.169.254"))
