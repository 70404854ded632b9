// Reads cases from standard input and says, a line for each, which model Node's standard library reads from them. What a case and an
// answer look like is said in differential.py.
'use strict';
const querystring = require('node:querystring');

const text = (value) => {
  if (value === undefined || value === null || value === '') return '-';
  if (Array.isArray(value) && value.every((one) => one === '')) return '-'; // querystring makes a list of "model&model"
  return typeof value === 'string' ? Buffer.from(value).toString('hex') : '?';
};

function read(answer, way, model) {
  let value;
  try {
    value = text(model());
  } catch {
    value = '!';
  }
  answer.push(`${way}=${value}`);
}

function query(answer, raw) {
  const params = new URLSearchParams(raw);
  read(answer, 'query.first', () => params.get('model'));
  read(answer, 'query.last', () => params.getAll('model').at(-1));
  const url = new URL('http://gateway/');
  url.search = '?' + raw;
  read(answer, 'query.url', () => url.searchParams.get('model'));
  const plain = querystring.parse(raw);
  read(answer, 'query.querystring', () => plain.model);
  for (const name of new Set([...params.keys(), ...url.searchParams.keys(), ...Object.keys(plain)])) answer.push(`name=${text(name)}`);
}

const member = (document) => document?.model;

// The members `model` of a form, however it was read.
function form(answer, way, values) {
  read(answer, `${way}-first`, () => values[0]);
  read(answer, `${way}-last`, () => values.at(-1));
}

async function body(answer, ctype, bytes) {
  const plain = bytes.toString();
  read(answer, 'json.buffer', () => member(JSON.parse(plain)));
  const decoded = new TextDecoder().decode(bytes); // takes away a byte order mark, as Response.json() does
  if (decoded !== plain) read(answer, 'json.decoded', () => member(JSON.parse(decoded)));
  if (/^\s*application\/x-www-form-urlencoded\s*(;|$)/i.test(ctype)) {
    form(answer, 'form.params', new URLSearchParams(plain).getAll('model'));
    form(answer, 'form.querystring', [querystring.parse(plain).model].flat());
  }
  if (!/multipart|urlencoded/i.test(ctype)) return;
  try {
    const data = await new Response(bytes, { headers: { 'content-type': ctype } }).formData();
    form(answer, 'form.formData', data.getAll('model'));
  } catch {
    answer.push('form.formData=!');
  }
}

async function main() {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  const input = Buffer.concat(chunks);
  const lines = [];
  let at = 0;
  const slice = () => {
    const size = input.readUInt32LE(at);
    at += 4 + size;
    return input.subarray(at - size, at);
  };
  while (at < input.length) {
    const kind = String.fromCharCode(input[at++]);
    const ctype = slice().toString('latin1');
    const bytes = slice();
    const answer = [];
    if (kind === 'q') query(answer, bytes.toString('latin1'));
    else await body(answer, ctype, bytes);
    lines.push(answer.join(' '));
  }
  process.stdout.write(lines.join('\n') + '\n');
}

main();
