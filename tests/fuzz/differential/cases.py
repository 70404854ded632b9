"""Cases for differential.py: bodies with the content-type that they are sent with, made by grammars whose rules are often broken, and
mutated. `r` is a random.Random."""
import collections


import scan

# kind: "json", "form", "multipart" or "query". ctype is empty for a query.
Case = collections.namedtuple("Case", "kind ctype data")

NAMES = [b"gpt-9", b"glm-1", b"glm-1", b"claude-x"]
ODD_NAMES = [b"", b" glm-1", b"glm-1 ", b"glm-1\0", b"\0", b"models/glm-1", b"glm%31", b"glm+1", b"glm;1", b"glm&1", b"glm=1", b"mod\xc3\xa8le",
             b"\xe9", b"\xff\xfe", b"glm-1\r\n", b"glm-1\n", b"\tglm-1", b"glm-1\x85", b"\xe2\x80\x8bglm-1", b"\xef\xbb\xbfglm-1", b"x" * 256, b"x" * 257,
             b"glm-1,gpt-9", b'"glm-1"', b"null", b"glm%", b"glm%zz", b"%u0067lm-1", b"glm-1--", b"+AGc-lm-1", b"=?utf-8?q?glm?="]
# Bytes that mean something to one of the parsers.
TOKENS = [b"&", b";", b"=", b"%", b"%00", b"\0", b"+", b" ", b"\t", b"\r\n", b"\n", b"\r", b'"', b"'", b"\\", b'\\"', b"--", b":", b",", b"/", b"[]", b"[", b"]",
          b".", b"*", b"*0", b"*=utf-8''", b"(", b")", b"<", b"\xef\xbb\xbf", b"\xff", b"\xc2\xa0", b"\x0b", b"\x0c", b"\x1a", b"\x85", b"model", b"Model", b"model=gpt-9",
          b"mod%65l", b"&model=gpt-9", b";model=gpt-9", b'"model":"gpt-9"', b',"model":"gpt-9"', b'{"model":"gpt-9"}', b"\\u006d", b"charset", b"boundary=x", b"name=",
          b'name="model"', b"filename", b"null", b"{}", b"{", b"}", b"//", b"/**/", b"#", b"?", b"\r\n\r\n", b"form-data", b"--x", b"\r\n--x--", b"&amp;", b"_charset_=utf-16"]


def often(r, usual, odd, share=0.12):
    """Returns `usual` mostly; else one of `odd`. `r.oddness`, if set, makes that rarer."""
    return r.choice(odd) if r.random() < share * getattr(r, "oddness", 1) else usual


def name(r):
    return often(r, r.choice(NAMES), ODD_NAMES, 0.2)


# ---------------------------------------------------------------- content-types

CTYPES = {"json": b"application/json", "form": b"application/x-www-form-urlencoded", "multipart": b"multipart/form-data; boundary=x"}
PARAMS = [b"; charset=utf-8", b"; charset=UTF-8", b';charset="utf-8"', b"; charset=iso-8859-1", b"; charset=utf-16", b"; charset=utf-7", b"; charset=cp037", b"; charset=utf-8-sig",
          b"; charset=unicode-escape", b"; charset=raw-unicode-escape", b"; charset=us-ascii; charset=utf-7", b"; boundary=x", b";", b"; ", b" ;a=b", b"; a", b'; a="b;c"',
          b'; a="', b",", b", text/plain", b", application/json", b" x", b"; charset*=utf-8''utf-16"]
OTHER_CTYPES = [b"", b"text/plain", b"application/octet-stream", b"application/x-ndjson", b"text/json", b"application/vnd.api+json", b"multipart/mixed; boundary=x",
                b"multipart/related; boundary=x", b"multipart/form-data", b"application", b"/", b"*/*", b"text/plain, application/x-www-form-urlencoded",
                b"text/plain, multipart/form-data; boundary=x", b"application/x-www-form-urlencoded, text/plain", b"application/x-www-form-urlencoded;",
                b"application/x-www-form-urlencoded+json", b"application/x-www-form-urlencoded x", b"multipart/form-data x; boundary=x"]


def ctype_of(r, kind):
    value = often(r, CTYPES[kind], OTHER_CTYPES + list(CTYPES.values()), 0.1)
    if r.random() < 0.15:
        value += r.choice(PARAMS)
    if r.random() < 0.03:
        value = bytes(c ^ 32 if 65 <= c & ~32 <= 90 and r.random() < 0.3 else c for c in value)
    if r.random() < 0.04:
        value = mutated(r, value)
    return header(value)


def header(value):
    """What HAProxy lets through as the value of a header."""
    return bytes(c for c in value if c >= 32 and c != 127 or c == 9).strip(b" \t")


# ---------------------------------------------------------------- JSON


def json_body(r):
    kind = r.random()
    if kind < 0.6:
        data = scan.document(r)
    else:
        members = [b'"%s"%s:%s' % (often(r, b"model", [b"Model", b"m\\u006fdel", b"model\\u0000", b"\\u006Dodel", b"model ", b"mode\\l", b"mod\\/el", b"__proto__", b"stream", b"m\xc3\xb6del",
                                                      b"\xef\xbd\x8dodel", b"model\xff"], 0.4), often(r, b"", [b" ", b"\n"]), json_value(r)) for _ in range(r.choice((1, 2, 2, 3)))]
        data = b"{" + b",".join(members) + b"}"
    if r.random() < 0.3:
        data = scan.mutated(r, data)
    kind = r.random()
    if kind < 0.04:
        data = data.decode("utf-8", "replace").encode(r.choice(("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-7", "cp037")), "replace")
    elif kind < 0.1:
        data += r.choice((b"\n", b" x", b"\0", b"\x1a", b"]", b"}", b",", b'{"model":"gpt-9"}', b"\n" + json_body(r), b"\xef\xbb\xbf"))
    elif kind < 0.16:
        data = r.choice((b"\xef\xbb\xbf", b"\n", b"1 ", b"[]", b"null ", b"[", b")]}',\n", b"\0", b"{} ", b"//\n", b"\x0b", b"\xc2\xa0", b"\xfe\xff", b"\x1e", b"data: ", b"x=")) + data
    elif kind < 0.18:
        data = b"[" + data + b"]"
    return data


def json_value(r):
    if r.random() < 0.3:
        return r.choice((b"null", b"5", b"true", b"{}", b"[]", b'["glm-1"]', b'{"model":"gpt-9"}', b"1e999", b"-0", b"01", b"9" * 400, b"NaN", b"'glm-1'", b"glm-1", b'"\\ud83d"',
                         b'"\\ud83d\\ude00"', b'"\\u0000"', b'"gl\\m-1"', b'"glm\\-1"', b'"glm-\\u0031"', b'"glm\t1"', b"[" * 600 + b"]" * 600, b'"\\x67lm"', b'""'))
    return b'"' + name(r).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


# ---------------------------------------------------------------- urlencoded forms and queries


def escaped(r, text, share):
    return b"".join(b"%%%02x" % c if r.random() < share and chr(c) not in "%" else b"%c" % c for c in text)


def pair(r, key=b"model"):
    key = escaped(r, often(r, key, [b"Model", b"MODEL", b"mo del", b"models", b"mode", b"stream", b"deployment", b"input"], 0.25), r.choice((0, 0, 0, 0.2, 1)))
    if r.random() < 0.15:
        key = r.choice((b"+", b" ", b"%20", b"%00", b"\xef\xbb\xbf", b"%EF%BB%BF", b"?", b"%3f", b"\0", b"[", b"%0a", b"\t", b"amp;", b"%09", b"&", b"%", b".")) + key
    if r.random() < 0.15:
        key += r.choice((b"[]", b"%5b%5d", b"[0]", b"[x", b"%00", b"%00x", b"\0x", b"+", b"%20", b".", b"%0d", b"%", b"%zz", b"\xff", b"%ff", b"%c2%a0"))
    value = escaped(r, name(r), r.choice((0, 0, 0, 0.3)))
    return key + often(r, b"=", [b"", b"==", b"%3d", b"=&", b" = ", b"=+"], 0.05) + value


def form_body(r):
    pairs = [pair(r) if r.random() < 0.7 else r.choice((b"input=a+b", b"stream=true", b"temperature=1", b"x", b"=", b"a%26model=gpt-9", b"x=model=gpt-9", b'{"a":"', b"x=y;z"))
             for _ in range(r.choice((1, 2, 2, 3)))]
    out = pairs[0]
    for one in pairs[1:]:
        out += often(r, b"&", [b";", b"&&", b"&amp;", b",", b"\n", b"\r\n", b"%26", b"&\0", b"|", b"&;"], 0.15) + one
    return out + often(r, b"", [b"\r\n", b"\n", b"&", b"\0", b";"], 0.06)


# Parameters that carry keys: none may reach the operator's upstream beside the operator's credential.
KEYS = {"key", "api_key", "api-key", "apikey", "access_token", "token", "subscription-key", "session_token", "access_key", "secret", "password", "auth",
        "signature", "code", "openai_api_key", "user_key", "personal_access_token"}


def query(r):
    """Returns a query string, in the bytes that HAProxy lets through."""
    out = form_body(r)
    for _ in range(r.choice((0, 0, 1, 1, 2))):
        key = r.choice(sorted(KEYS)).encode()
        key = often(r, key, [key.upper(), key.replace(b"_", b"."), key.replace(b"_", b"+"), key.replace(b"_", b"["), key.replace(b"-", b"_"), key.title()], 0.3)
        one = pair(r, key)
        out = often(r, out + b"&" + one, [one + b"&" + out, out + b";" + one, b"&&" + one + b"&" + out, b"?" + one, one + b";" + out, out + b"&x=%26" + one], 0.5)
    return sendable(out)


def sendable(text):
    return b"".join(b"%c" % c if 0x21 <= c <= 0x7e and c != 0x23 else b"%%%02X" % c for c in text)


# ---------------------------------------------------------------- multipart

BOUNDARIES = [b"----WebKitFormBoundaryabc", b"a'()+_,-./:=?b", b"a b", b"x ", b"x--", b"--x", b"X", b"x" * 70, b"x" * 71, b"x\\y", b'x"y', b"=_x", b"x\xe9", b"", b"x;y", b"x%20"]


def parameter(r, key, value):
    """Returns `key=value` as a header has it, nearly always in the usual way."""
    kind = r.random()
    if kind < 0.6:
        return key + b'="' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
    if kind < 0.75:
        return key + b"=" + value
    half = len(value) // 2
    return r.choice((key + b"*=utf-8''" + value, key + b"*=UTF-8'en'" + escaped(r, value, 1), key + b'*0="' + value[:half] + b'"; ' + key + b'*1="' + value[half:] + b'"',
                     key + b"*0*=utf-8''" + value[:half] + b"; " + key + b"*1=" + value[half:], key + b' = "' + value + b'"', key + b"='" + value + b"'", key + b'="' + value,
                     key.upper() + b'="' + value + b'"', key + b'="' + value[:half] + b"\\" + value[half:] + b'"', key + b'="' + value + b'" x', key + b'=="' + value + b'"',
                     key + b'="=?utf-8?q?' + value + b'?="', key + b'="' + value + b'"; ' + key + b'="other"', key + b'=other; ' + key + b'="' + value + b'"',
                     key + b'="' + value + b' "', key + b'=" ' + value + b'"', key + b'="' + value + b'\0"', key + b'=(c)"' + value + b'"', key + b'="' + value + b'"(c)',
                     key + b'*="' + value + b'"', b'"' + key + b'"="' + value + b'"', key + b'*1="' + value + b'"', key + b'="' + value + b'";;', key + b"*=" + value,
                     key + b'="' + escaped(r, value, 0.3) + b'"', key + b"=&quot;" + value, key + b'="' + value[:half] + b'\r\n ' + value[half:] + b'"'))


def part(r, end):
    key = often(r, b"model", [b"Model", b"file", b"stream", b"model[]", b" model", b"model ", b"_charset_", b"mo\xc3\xb6del", b"model\0"], 0.3)
    extra = often(r, b"", [b'; filename="a"', b"; filename=", b'; filename=""', b"; filename*=utf-8''a", b'; x="a;name=model"', b"; size=3", b';filename="a\\"; name=\\"model"',
                           b'; filename="\xe9"', b'; x="', b"; x", b'; filename*0="a"'], 0.2)
    first = often(r, b"form-data", [b"Form-Data", b"attachment", b"form-data ", b"", b"inline", b"form-data,x", b"file", b"form-data x"], 0.08)
    named = parameter(r, b"name", key)
    disposition = often(r, b"Content-Disposition: ", [b"content-disposition:", b"Content-Disposition : ", b"Content-Disposition:\t", b" Content-Disposition: ", b"Content_Disposition: ",
                                                      b"Content-Disposition", b"Content-Disposition\0: ", b"x: y\rContent-Disposition: "], 0.08) + \
        often(r, first + often(r, b"; ", [b";", b" ; ", b";\r\n ", b"\t;\t", b";\n\t", b",", b" "], 0.12) + named + extra, [first + extra + b"; " + named, first, named], 0.06)
    lines = [disposition]
    if r.random() < 0.2:
        lines.insert(r.randint(0, 1), r.choice((b"Content-Type: text/plain", b"Content-Type: text/plain; charset=utf-16", b"Content-Type: text/plain; charset=utf-7", b"Content-Type: application/json",
                                               b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b"Content-Transfer-Encoding: 8bit", b"X: y", b"X", b": y",
                                               b"Content-Transfer-Encoding: 7bit; x", b"content-transfer-encoding: (c) quoted-printable", b"Content-Length: 2", b"", b" folded",
                                               b"Content-Type: multipart/mixed; boundary=y", b"Content-Type: message/rfc822", b'Content-Disposition: form-data; name="other"',
                                               b"X: y\r\n\tz", b"MIME-Version: 1.0", b"Content-Encoding: gzip", b"X:" + b"y" * 5000, b"From a@b")))
    value = often(r, name(r), [b"Z2xtLTE=", b"glm=2D1", b"glm-=\r\n1", b"a\r\nb", b"\r\nglm-1", b"--x", b"\r\n--x y", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-9'], 0.1)
    return end.join(lines) + end + often(r, end, [b"", b"\r\n", b"\n", b" \r\n", b"\r"], 0.06) + value


def multipart_case(r):
    boundary = often(r, b"x", BOUNDARIES, 0.25)
    ctype = often(r, b"multipart/form-data", [b"multipart/mixed", b"Multipart/Form-Data", b"multipart/form-data ", b"multipart/form-data;a=b", b"multipart/related", b"multipart"], 0.1) + \
        often(r, b"; ", [b";", b" ; ", b"; charset=utf-8; ", b"; ;", b", ", b"; x=\"boundary=y\"; ", b"; boundary=y; ", b"; charset=utf-16; "], 0.12) + \
        often(r, b"boundary=" + boundary, [parameter(r, b"boundary", boundary), b"Boundary=" + boundary, b"boundary=" + boundary + b"; boundary=y"], 0.25) + \
        (r.choice(PARAMS) if r.random() < 0.08 else b"")
    end = often(r, b"\r\n", [b"\n", b"\r"], 0.05)
    body = often(r, b"", [b"\r\n", b"\n", b"preamble\r\n", b"--x--\r\n", b" ", b"x", b'Content-Disposition: form-data; name="model"\r\n\r\ngpt-9\r\n'], 0.08)
    for _ in range(r.choice((1, 2, 2, 3))):
        body += b"--" + boundary + often(r, end, [b" \r\n", b"\t\r\n", b"\n", b"\r", b"x\r\n", b"--\r\n", b" x\r\n", b"", b"\0\r\n", b"-\r\n", b"\x0b\r\n", b"\r\n\r\n"], 0.08)
        body += part(r, end) + often(r, end, [b"", b"\n", b"\r", b"\r\n\r\n", b"\r\r\n"], 0.05)
    body += b"--" + boundary + often(r, b"--" + end, [b"--", b"-- \r\n", b"", b"\r\n", b"--x", b"--\r\nepilogue", b"--\r\n--x\r\n" + part(r, end), b"-", b"--\n", b"--\r"], 0.12)
    return Case("multipart", header(ctype), body)


# ---------------------------------------------------------------- all


def mutated(r, data):
    """Returns `data` with a few tokens inserted, pieces removed, repeated or moved."""
    out = bytearray(data)
    for _ in range(r.choice((1, 1, 1, 2, 3))):
        at, kind = r.randint(0, len(out)), r.random()
        if kind < 0.5:
            out[at:at] = r.choice(TOKENS)
        elif kind < 0.75:
            del out[at:at + r.choice((1, 1, 2, 5, 20))]
        elif kind < 0.85 and at < len(out):
            out[at] = r.choice((out[at] ^ 32, r.randrange(256)))
        else:
            begin = r.randint(0, len(out))
            out[at:at] = out[begin:begin + r.choice((3, 10, 60))]
    return bytes(out)


def case(r, kind, corpus):
    """Returns a case of `kind`: a row of the corpus, changed, or one made by the grammar, now and then changed."""
    r.oddness = r.choice((0.1, 1, 1))
    if corpus and r.random() < 0.15:
        one = r.choice(corpus)
        if r.random() < 0.2 and one.ctype:
            return Case(kind, header(mutated(r, one.ctype)), one.data)
        return plain(one._replace(data=mutated(r, one.data)))
    if kind == "query":
        one = Case(kind, b"", query(r))
    elif kind == "multipart":
        one = multipart_case(r)
    else:
        one = Case(kind, ctype_of(r, kind), json_body(r) if kind == "json" else form_body(r))
    return plain(one._replace(data=mutated(r, one.data))) if r.random() < 0.25 else one


def plain(one):
    return one._replace(data=sendable(one.data)) if one.kind == "query" else one


def smaller(one):
    """Yields cases that are like `one` with a piece taken away, the largest pieces first; then with a byte made plain."""
    for field in ("data", "ctype"):
        text = getattr(one, field)
        size = len(text) // 2
        while size > 0:
            for at in range(0, len(text), size):
                yield one._replace(**{field: header(text[:at] + text[at + size:]) if field == "ctype" else text[:at] + text[at + size:]})
            size //= 2


# ---------------------------------------------------------------- rows of the corpus: what has to come out, content-type, data


def row(word, one):
    return "\t".join([word] + [text.decode("latin-1").encode("unicode_escape").decode() for text in (one.ctype, one.data)])


def rows(path, kind):
    """Yields (what has to come out, case) for each row of the corpus file at `path`."""
    for line in path.read_text().splitlines() if path.exists() else []:
        if line and line[0] != "#":
            word, ctype, data = line.split("\t")
            yield word, Case(kind, *[text.encode().decode("unicode_escape").encode("latin-1") for text in (ctype, data)])
