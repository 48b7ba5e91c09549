# row: D AF_UNIX
# row: D abstract sockets
# with: attempts
import socket
def abstract():
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("\0belljar-hostile")
through(unix=lambda: socket.socket(socket.AF_UNIX).close(), abstract=abstract, pair=lambda: [s.close() for s in socket.socketpair()])
