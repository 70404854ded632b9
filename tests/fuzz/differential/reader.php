<?php
// Reads cases from standard input and says, a line for each, which model PHP reads from them. What a case and an answer look like is
// said in differential.py. PHP itself reads multipart bodies in web servers only, so it says nothing of those here.

function text($value)
{
	if ($value === null || $value === '') {
		return '-';
	}
	return is_string($value) ? bin2hex($value) : '?';
}

function part($data, &$at)
{
	$size = unpack('V', $data, $at)[1];
	$at += 4 + $size;
	return substr($data, $at - $size, $size);
}

function body($ctype, $body)
{
	$answer = [];
	$all = json_decode($body, true);
	$failed = json_last_error() !== JSON_ERROR_NONE;
	$answer[] = 'json.array=' . ($failed ? '!' : text(is_array($all) ? $all['model'] ?? null : null));
	if (strcasecmp(trim(explode(';', $ctype)[0]), 'application/x-www-form-urlencoded') === 0) {
		parse_str($body, $form);
		$answer[] = 'form.parse_str=' . text($form['model'] ?? null);
	}
	return $answer;
}

function query($raw)
{
	parse_str($raw, $all);
	$answer = ['query.parse_str=' . text($all['model'] ?? null)];
	foreach (array_keys($all) as $name) {
		$answer[] = 'name=' . text((string)$name);
	}
	return $answer;
}

$data = stream_get_contents(STDIN);
$lines = [];
for ($at = 0; $at < strlen($data);) {
	$kind = $data[$at++];
	$ctype = part($data, $at);
	$what = part($data, $at);
	$lines[] = implode(' ', $kind === 'q' ? query($what) : body($ctype, $what));
}
echo implode("\n", $lines), "\n";
