// Reads cases from standard input and says, a line for each, which model Go's standard library reads from them. What a case and an
// answer look like is said in differential.py.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"strings"
)

var out = bufio.NewWriter(os.Stdout)

func say(way, value string) {
	fmt.Fprintf(out, " %s=%s", way, value)
}

func text(value string) string {
	if value == "" {
		return "-"
	}
	return hex.EncodeToString([]byte(value))
}

func sayText(way, value string, err error) {
	if err != nil {
		say(way, "!")
	} else {
		say(way, text(value))
	}
}

func last(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func query(raw string) {
	values := (&url.URL{RawQuery: raw}).Query() // leaves out what it cannot read
	say("query.first", text(values.Get("model")))
	say("query.last", text(last(values["model"])))
	r := &http.Request{Method: "GET", URL: &url.URL{Path: "/", RawQuery: raw}}
	say("query.FormValue", text(r.FormValue("model")))
	for name := range values {
		say("name", text(name))
	}
}

type request struct {
	Model  string `json:"model"`
	Stream bool   `json:"stream"`
}

func sayMap(way string, all map[string]interface{}, err error) {
	switch model := all["model"].(type) {
	case nil:
		sayText(way, "", err)
	case string:
		sayText(way, model, err)
	default:
		say(way, "?")
	}
}

func bodyJSON(body []byte) {
	var one, two request
	var all, more map[string]interface{}
	err := json.Unmarshal(body, &one)
	sayText("json.struct", one.Model, err)
	err = json.NewDecoder(bytes.NewReader(body)).Decode(&two) // reads the first document, whatever follows
	sayText("json.stream-struct", two.Model, err)
	sayMap("json.map", all, json.Unmarshal(body, &all))
	sayMap("json.stream-map", more, json.NewDecoder(bytes.NewReader(body)).Decode(&more))
}

func post(ctype string, body []byte) *http.Request {
	return &http.Request{Method: "POST", URL: &url.URL{Path: "/"}, Header: http.Header{"Content-Type": {ctype}},
		Body: io.NopCloser(bytes.NewReader(body))}
}

func bodyForm(ctype string, body []byte) {
	if kind := strings.ToLower(ctype); !strings.HasPrefix(kind, "multipart/") && !strings.HasPrefix(kind, "application/x-www-form-urlencoded") {
		return
	}
	r := post(ctype, body)
	err := r.ParseMultipartForm(1 << 20)
	if err == http.ErrNotMultipart {
		err = nil
	}
	value := r.PostFormValue("model")
	if r.MultipartForm != nil && len(r.MultipartForm.File["model"]) > 0 {
		say("form.file", "?")
	}
	if value == "" && err != nil {
		say("form.first", "!")
	} else { // FormValue gives what there is, whatever the error
		say("form.first", text(value))
		say("form.last", text(last(r.PostForm["model"])))
		say("form.FormValue", text(r.FormValue("model")))
	}
	parts(ctype, body)
}

// The parts one by one, as a server reads them that does not wait for the end of the body.
func parts(ctype string, body []byte) {
	reader, err := post(ctype, body).MultipartReader()
	if err != nil {
		return
	}
	var names []string
	var part *multipart.Part
	for {
		if part, err = reader.NextPart(); err != nil {
			break
		}
		if part.FormName() != "model" {
			continue
		}
		value, bad := io.ReadAll(part)
		if bad != nil {
			err = bad
			break
		}
		names = append(names, string(value))
	}
	if len(names) == 0 {
		if err != io.EOF {
			say("form.parts", "!")
		} else {
			say("form.parts", "-")
		}
		return
	}
	say("form.parts-first", text(names[0]))
	say("form.parts-last", text(last(names)))
}

func main() {
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	slice := func() []byte {
		var size uint32
		if binary.Read(in, binary.LittleEndian, &size) != nil {
			os.Exit(2)
		}
		buf := make([]byte, size)
		if _, err := io.ReadFull(in, buf); err != nil {
			os.Exit(2)
		}
		return buf
	}
	for {
		kind, err := in.ReadByte()
		if err == io.EOF {
			break
		}
		ctype, data := string(slice()), slice()
		if kind == 'q' {
			query(string(data))
		} else {
			bodyJSON(data)
			bodyForm(strings.TrimSpace(ctype), data)
		}
		out.WriteByte('\n')
	}
	out.Flush()
}
