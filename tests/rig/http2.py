"""HTTP/2 for the client's side, in clear and over TLS: the same requests and answers as wire.Connection's, so that a test can be run over
each of the three ways. The frames are python3-h2's."""
import select
import ssl
import time

import h2.config
import h2.connection
import h2.events
import h2.settings

import wire


def fields_of(event):
    """An event's headers as lines of HTTP/1.1."""
    return [("%s: %s" % pair).encode("latin-1") for pair in event.headers]


class Connection(wire.Connection):
    """One connection with one request after the other. `tls`: a client's context."""

    def __init__(self, address, timeout=30.0, tls=None):
        super().__init__(address, timeout, tls)
        assert not tls or self.sock.selected_alpn_protocol() == "h2"
        # Tests send wrong headers on purpose, so h2 neither checks nor corrects what goes out.
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(
            header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False))
        self.h2.initiate_connection()
        self.closed = False
        self._flush()

    def _flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def _receive(self, end):
        """Waits for bytes, and returns the events in them; [] at the connection's end."""
        self.sock.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        self.closed = not data
        events = self.h2.receive_data(data) if data else []
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        try:
            self._flush()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass
        return events

    def _take(self, stream, response, events):
        """Puts what came for `stream` into `response`, which is made with the head."""
        for event in events:
            if getattr(event, "stream_id", None) != stream:
                self.closed = self.closed or isinstance(event, h2.events.ConnectionTerminated)
            elif isinstance(event, h2.events.InformationalResponseReceived):
                self.hints.append(b"\r\n".join(fields_of(event)))
            elif isinstance(event, h2.events.ResponseReceived):
                headers = [(name, value) for name, value in event.headers if name[0] != ":"]
                status = int(dict(event.headers)[":status"])
                response = wire.Response(status, headers, repr(event.headers).encode(), [], self.hints)
            elif isinstance(event, h2.events.DataReceived):
                response.body += event.data
            elif isinstance(event, h2.events.TrailersReceived):
                response.trailer = fields_of(event)
            elif isinstance(event, h2.events.StreamEnded):
                response.complete = True
            elif isinstance(event, h2.events.StreamReset):
                self.reset = event.error_code
        return response

    def open(self, method, target, headers, ended=False, protocol=None, scheme=None, held=False):
        """Sends a request's head and returns the stream's number. `protocol`: that of an extended CONNECT (RFC 8441); `held`: sends it with what is sent next."""
        scheme = scheme or ("https" if isinstance(self.sock, ssl.SSLSocket) else "http")
        authority = [value for name, value in headers if name.lower() == "host"]
        fields = [(":method", method), (":scheme", scheme), (":path", target)] + [(":authority", value) for value in authority[:1]]
        if protocol:
            fields.append((":protocol", protocol))
        fields += [(name.lower(), str(value)) for name, value in headers if name.lower() != "host"]
        self.reset, self.hints = None, []
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=ended)
        if not held:
            self._flush()
        return stream

    def ask(self, method, target, headers, body=None, chunks=None, timeout=None, more=False, scheme=None):
        """Sends a request and reads its answer. `chunks`, a list of bytes: the body without a content-length. `more`: the body does not end
        with these bytes."""
        end = time.monotonic() + (timeout or self.timeout)
        if chunks is not None:
            body = b"".join(chunks)
        elif body is not None and "content-length" not in [name.lower() for name, _ in headers]:
            headers = list(headers) + [("content-length", len(body))]
        stream, response, at = self.open(method, target, headers, ended=not body, scheme=scheme), None, 0

        def over():
            return self.closed or self.reset is not None or (response and response.complete)
        while body and at < len(body) and not over():
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(body) - at)
            if room == 0 or select.select([self.sock], [], [], 0)[0]:
                response = self._take(stream, response, self._receive(end))
                continue
            self.h2.send_data(stream, body[at:at + room], end_stream=at + room == len(body) and not more)
            at += room
            try:
                self._flush()
            except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
                pass        # refused while still sending: the answer may be there to read
        while not over():
            response = self._take(stream, response, self._receive(end))
        if response is None or not response.complete:
            raise wire.Cut(response)
        return response

    def ask_at_once(self, requests, timeout=None):
        """Sends `requests` without bodies, each a method, a target and headers, by one write. Returns their answers, in the order of the requests."""
        end = time.monotonic() + (timeout or self.timeout)
        answers = {self.open(*one, ended=True, held=True): None for one in requests}
        self._flush()
        while not all(answer and answer.complete for answer in answers.values()):
            if self.closed or self.reset is not None:
                raise wire.Cut(None)
            events = self._receive(end)
            for stream in answers:
                answers[stream] = self._take(stream, answers[stream], events)
        return list(answers.values())

    def head(self, stream, timeout=None):
        """The head of the answer to a request that open() began."""
        end, response = time.monotonic() + (timeout or self.timeout), None
        while response is None:
            if self.closed or self.reset is not None:
                raise wire.Cut(None)
            response = self._take(stream, response, self._receive(end))
        return response

    def pass_settings(self, timeout=10.0):
        """Waits for the server's settings, and returns whether they allow an extended CONNECT."""
        end = time.monotonic() + timeout
        while not self.h2.remote_settings.enable_connect_protocol and time.monotonic() < end and not self.closed:
            if any(isinstance(event, h2.events.RemoteSettingsChanged) for event in self._receive(end)):
                break
        return bool(self.h2.remote_settings.enable_connect_protocol)
