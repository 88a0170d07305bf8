//! JSON text (RFC 8259).

use alloc::{collections::BTreeMap, string::String, vec::Vec};
use core::fmt::{self, Write as _};

use crate::{
    fault::JsonError,
    value::{Float, Scalar, Value},
    wire::MAX_DEPTH,
};

impl Value {
    /// Reads one JSON value. Strict: no repeated keys, no comments, nothing after it. A whole number must fit `i64`, since
    /// a float would change it; write larger ones as strings.
    ///
    /// # Errors
    /// [`JsonError`], with the byte offset.
    pub fn from_json(text: &str) -> Result<Self, JsonError> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value(0)?;
        parser.space();
        if parser.at == text.len() { Ok(value) } else { Err(JsonError::Syntax(parser.at)) }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn wrong<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax(self.at))
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() != Some(byte) {
            return self.wrong();
        }
        self.at += 1;
        Ok(())
    }

    fn accept(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Recursion is bounded by `MAX_DEPTH`.
    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.space();
        if depth > MAX_DEPTH {
            return Err(JsonError::TooDeep(self.at));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(self.string()?.into()),
            Some(b't') => self.word("true", true.into()),
            Some(b'f') => self.word("false", false.into()),
            Some(b'n') => self.word("null", Value::NULL),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.wrong(),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, JsonError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word) {
            return self.wrong();
        }
        self.at += word.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.expect(b'{')?;
        let mut members = BTreeMap::new();
        self.space();
        if self.accept(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.space();
            let at = self.at;
            let key = self.string()?;
            self.space();
            self.expect(b':')?;
            let value = self.value(depth + 1)?;
            if members.insert(key, value).is_some() {
                return Err(JsonError::RepeatedKey(at));
            }
            self.space();
            if !self.accept(b',') {
                self.expect(b'}')?;
                return Ok(Value::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.expect(b'[')?;
        let mut values = Vec::new();
        self.space();
        if self.accept(b']') {
            return Ok(Value::Array(values));
        }
        loop {
            values.push(self.value(depth + 1)?);
            self.space();
            if !self.accept(b',') {
                self.expect(b']')?;
                return Ok(Value::Array(values));
            }
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.wrong();
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        self.accept(b'-');
        if !self.accept(b'0') {
            self.digits()?;
        }
        let mut whole = true;
        if self.accept(b'.') {
            whole = false;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            let _ = self.accept(b'+') || self.accept(b'-');
            self.digits()?;
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        let scalar = if whole {
            digits.parse().ok().map(Scalar::Int)
        } else {
            digits.parse().ok().and_then(Float::new).map(Scalar::Float)
        };
        scalar.map(Value::Scalar).ok_or(JsonError::Number(start))
    }

    fn string(&mut self) -> Result<String, JsonError> {
        self.expect(b'"')?;
        let mut text = String::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte >= 0x20 && byte != b'"' && byte != b'\\') {
                self.at += 1;
            }
            text.push_str(self.text.get(start..self.at).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => text.push(self.escape()?),
                _ => return self.wrong(),
            }
        }
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        self.expect(b'\\')?;
        let Some(kind) = self.peek() else { return self.wrong() };
        let escaped = match kind {
            b'"' | b'\\' | b'/' => char::from(kind),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return self.wrong(),
        };
        self.at += 1;
        Ok(escaped)
    }

    /// `\uXXXX`, or two of them that are a surrogate pair.
    fn unicode(&mut self) -> Result<char, JsonError> {
        let start = self.at;
        let high = self.hex()?;
        let code = if (0xd800..0xdc00).contains(&high) {
            self.expect(b'\\')?;
            let low = self.hex()?;
            match low {
                0xdc00..=0xdfff => 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00),
                _ => return Err(JsonError::Syntax(start)),
            }
        } else {
            high
        };
        char::from_u32(code).ok_or(JsonError::Syntax(start))
    }

    fn hex(&mut self) -> Result<u32, JsonError> {
        self.expect(b'u')?;
        let digits = self.text.get(self.at..self.at + 4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
            return self.wrong();
        };
        self.at += 4;
        Ok(code)
    }
}

/// As compact JSON, keys in order of their bytes.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(scalar) => write_scalar(scalar, f),
            Self::Array(values) => {
                f.write_char('[')?;
                for (at, value) in values.iter().enumerate() {
                    separate(at, f)?;
                    write!(f, "{value}")?;
                }
                f.write_char(']')
            }
            Self::Object(members) => {
                f.write_char('{')?;
                for (at, (key, value)) in members.iter().enumerate() {
                    separate(at, f)?;
                    write_string(key, f)?;
                    write!(f, ":{value}")?;
                }
                f.write_char('}')
            }
        }
    }
}

fn separate(at: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if at > 0 { f.write_char(',') } else { Ok(()) }
}

fn write_scalar(scalar: &Scalar, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match scalar {
        Scalar::Null => f.write_str("null"),
        Scalar::Bool(value) => write!(f, "{value}"),
        Scalar::Int(number) => write!(f, "{number}"),
        Scalar::Float(number) => write!(f, "{:?}", number.to_f64()),
        Scalar::String(text) => write_string(text, f),
    }
}

fn write_string(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", c as u32)?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;

    #[test]
    fn what_json_allows_is_read_and_written_back() {
        let text = r#"{"a":[1,-2.5,1e300,true,null],"b":{"c":"q\"\\\n\u0001é"}}"#;
        assert_eq!(Value::from_json(text).unwrap().to_string(), text);
    }

    #[test]
    fn surrogate_pairs_are_one_character() {
        assert_eq!(Value::from_json(r#""\ud83e\udd80""#).unwrap().as_str(), Some("🦀"));
        assert_eq!(Value::from_json(r#""\ud83e""#), Err(JsonError::Syntax(7)));
    }

    #[test]
    fn what_json_forbids_is_refused_where_it_stands() {
        for (text, error) in [
            ("", JsonError::Syntax(0)),
            ("[1,]", JsonError::Syntax(3)),
            ("01", JsonError::Syntax(1)),
            ("1 2", JsonError::Syntax(2)),
            ("{\"a\":1,\"a\":2}", JsonError::RepeatedKey(7)),
            ("9223372036854775808", JsonError::Number(0)),
            ("1e999", JsonError::Number(0)),
            ("\"\t\"", JsonError::Syntax(1)),
            ("\"\\u12é\"", JsonError::Syntax(3)),
        ] {
            assert_eq!(Value::from_json(text), Err(error), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let text = "[".repeat(100_000);
        assert_eq!(Value::from_json(&text), Err(JsonError::TooDeep(MAX_DEPTH + 1)));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[\\[\\]{}\",:0-9eu\\\\. é-]{0,30}") {
            if let Ok(value) = Value::from_json(&text) {
                prop_assert_eq!(Value::from_json(&value.to_string()), Ok(value));
            }
        }

        #[test]
        fn floats_survive_being_written(bits in any::<u64>()) {
            if let Some(number) = Float::new(f64::from_bits(bits)) {
                let value = Value::Scalar(Scalar::Float(number));
                prop_assert_eq!(Value::from_json(&value.to_string()), Ok(value));
            }
        }
    }
}
