//! The least of HTTP that asks a local service.

use std::io::{self, Read, Write};

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The body as JSON; null if it is none.
    pub body: serde_json::Value,
}

/// One request over a fresh connection. `head` is the request line without its version, and any further header lines.
///
/// # Errors
/// Whatever the connection says; `InvalidData` for what is no HTTP.
pub fn call(mut stream: impl Read + Write, head: &str, body: &[u8]) -> io::Result<Answer> {
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let mut request = format!("{line} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
    headers.lines().for_each(|header| {
        request.push_str(header);
        request.push_str("\r\n");
    });
    request.push_str("\r\n");
    stream.write_all(request.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    parse(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let split = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = answer.split_at(split);
    let status = std::str::from_utf8(head).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body: serde_json::from_slice(body.get(4..)?).unwrap_or_default() })
}
