//! The parts of a pickle that are written as text: operands that end with a line, and Python 2's quoted
//! strings.

/// The bytes of a quoted Python string (opcode `S`), or `None` where quotes or escapes are wrong.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = line.split_first()?;
    let (&last, body) = rest.split_last()?;
    if quote != last || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut value = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        match bytes.next()? {
            b'n' => value.push(b'\n'),
            b't' => value.push(b'\t'),
            b'r' => value.push(b'\r'),
            b'a' => value.push(7),
            b'b' => value.push(8),
            b'f' => value.push(12),
            b'v' => value.push(11),
            b'x' => value.push((hex(bytes.next()?)? << 4 | hex(bytes.next()?)?) as u8),
            digit @ b'0'..=b'7' => {
                let mut code = u32::from(digit - b'0');
                for _ in 0..2 {
                    let Some(next) = bytes.next_if(|next| (b'0'..=b'7').contains(next)) else { break };
                    code = code << 3 | u32::from(next - b'0');
                }
                value.push(code as u8);
            }
            plain @ (b'\\' | b'\'' | b'"') => value.push(plain),
            other => value.extend([b'\\', other]),
        }
    }
    Some(value)
}

/// The text of a `raw-unicode-escape` line (opcode `V`): Latin-1, with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut value = String::with_capacity(line.len());
    let mut at = 0;
    while at < line.len() {
        let digits = match &line[at..] {
            [b'\\', b'u', ..] => 4,
            [b'\\', b'U', ..] => 8,
            _ => {
                value.push(char::from(line[at]));
                at += 1;
                continue;
            }
        };
        let code = line.get(at + 2..at + 2 + digits)?;
        let code = code.iter().try_fold(0, |code, &digit| Some(code << 4 | hex(digit)?))?;
        value.push(char::from_u32(code)?);
        at += 2 + digits;
    }
    Some(value)
}

fn hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_strings_follow_pythons_escapes() {
        // repr(b'a\n\x00\xff\'\\') under Python 2, and octal as older pickles have it.
        assert_eq!(unquote(br#""a\n\x00\xff'\\""#).unwrap(), b"a\n\x00\xff'\\");
        assert_eq!(unquote(br"'\0\12\377'").unwrap(), [0, 10, 255]);
        for wrong in [&b"'"[..], b"", b"'a\"", b"abc", br"'\'", br"'\x1'", br"'\xzz'"] {
            assert_eq!(unquote(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn raw_unicode_lines_decode() {
        assert_eq!(raw_unicode(b"a\xe9\\u20ac\\U0001f600\\n").unwrap(), "a\u{e9}\u{20ac}\u{1f600}\\n");
        assert_eq!(raw_unicode(br"\u12"), None);
        assert_eq!(raw_unicode(br"\ud800"), None);
    }
}
