# row: D TCP
# with: attempts
import socket
through(tcp=lambda: socket.socket().close(), server=lambda: socket.create_server(("127.0.0.1", 0)).close())
