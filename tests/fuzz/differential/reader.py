"""Reads cases from standard input and says, a line for each, which model Python's standard library reads from them. What a case and an
answer look like is said in differential.py."""
import email.parser
import email.policy
import email.utils
import io
import json
import struct
import sys
import urllib.parse
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        import cgi  # until 3.12
    except ImportError:
        cgi = None


def text(value):
    if value is None or value == "":
        return "-"
    return value.encode("utf-8", "surrogatepass").hex() if isinstance(value, str) else "?"


def read(answer, way, model):
    try:
        value = text(model())
    except Exception:  # whatever a parser throws: the request fails
        value = "!"
    answer.append("%s=%s" % (way, value))


def ends(answer, way, pairs):
    """Says the first and the last `model` among pairs of name and value."""
    values = [value for name, value in pairs if name == "model"]
    answer.append("%s-first=%s" % (way, text(values[0] if values else None)))
    answer.append("%s-last=%s" % (way, text(values[-1] if values else None)))


def pairs(answer, way, raw):
    plain = urllib.parse.parse_qsl(raw, keep_blank_values=True)
    ends(answer, way, plain)
    if ";" in raw:  # Python before 3.9.2, and Go before 1.17
        old = urllib.parse.parse_qsl(raw.replace(";", "&"), keep_blank_values=True)
        ends(answer, way + "-semicolon", old)
        plain += old
    return plain


def query(answer, raw):
    names = {name for name, _ in pairs(answer, "query.qsl", raw)}
    read(answer, "query.qs", lambda: urllib.parse.parse_qs(raw).get("model", [None])[0])
    parts = urllib.parse.urlsplit("http://gateway/?" + raw)
    ends(answer, "query.url", urllib.parse.parse_qsl(parts.query))
    answer += ["name=" + text(name) for name in names]


def member(document):
    return document.get("model") if isinstance(document, dict) else None


def charset_of(ctype):
    """The charset parameter, as email.message reads it; None: there is none."""
    head = email.message.Message()
    head["content-type"] = ctype
    return head.get_content_charset()


def form_parts(message):
    for part in message.get_payload() if message.is_multipart() else []:
        if part.get_content_disposition() != "form-data":
            continue
        name = part.get_param("name", header="content-disposition")
        name = email.utils.collapse_rfc2231_value(name) if isinstance(name, tuple) else name
        value = part.get_payload(decode=True)
        yield name, value if part.get_filename() is not None or value is None else value.decode("utf-8", "replace")


def multipart(answer, ctype, body):
    whole = b"Content-Type: " + ctype.encode("latin-1") + b"\r\n\r\n" + body
    for way, policy in (("form.email", email.policy.compat32), ("form.email-http", email.policy.HTTP)):
        try:
            message = email.parser.BytesParser(policy=policy).parsebytes(whole)
            ends(answer, way, list(form_parts(message)))
        except Exception:
            answer.append(way + "=!")


def cgi_form(answer, ctype, body):
    try:
        fields = cgi.FieldStorage(io.BytesIO(body), headers={"content-type": ctype, "content-length": str(len(body))},
                                  environ={"REQUEST_METHOD": "POST"}, keep_blank_values=True)
        ends(answer, "form.cgi", [(one.name, one.value if one.filename is None else one) for one in fields.list or []])
    except Exception:
        answer.append("form.cgi=!")


def body(answer, ctype, data):
    read(answer, "json.bytes", lambda: member(json.loads(data)))  # finds out by itself whether it is UTF-8, UTF-16 or UTF-32
    charset = charset_of(ctype)
    if charset and "json" in ctype.lower():
        read(answer, "json.charset", lambda: member(json.loads(data.decode(charset))))
    kind = ctype.split(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        pairs(answer, "form.qsl", data.decode("utf-8", "replace"))
        pairs(answer, "form.latin1", data.decode("latin-1"))  # as Starlette does
    if kind == "multipart/form-data":
        multipart(answer, ctype, data)
    if cgi and kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
        cgi_form(answer, ctype, data)


def main():
    warnings.simplefilter("ignore")
    data, at, lines = sys.stdin.buffer.read(), 0, []

    def part():
        nonlocal at
        size, = struct.unpack_from("<I", data, at)
        at += 4 + size
        return data[at - size:at]

    while at < len(data):
        kind, at = data[at:at + 1], at + 1
        ctype, what, answer = part().decode("latin-1"), part(), []
        if kind == b"q":
            query(answer, what.decode("latin-1"))
        else:
            body(answer, ctype, what)
        lines.append(" ".join(answer))
    sys.stdout.write("\n".join(lines) + "\n")


main()
