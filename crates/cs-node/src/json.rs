//! JSON of the API to and from the values of documents.

use cs_crdt::{Float, Scalar, Value};
use serde_json::{Map, Number};

/// The value of a document as JSON.
pub(crate) fn from_document(value: &Value) -> serde_json::Value {
    match value {
        Value::Scalar(Scalar::Null) => serde_json::Value::Null,
        Value::Scalar(Scalar::Bool(b)) => (*b).into(),
        Value::Scalar(Scalar::Int(i)) => (*i).into(),
        Value::Scalar(Scalar::Float(f)) => Number::from_f64(f.to_f64()).into(),
        Value::Scalar(Scalar::String(s)) => s.as_ref().into(),
        Value::Array(items) => items.iter().map(from_document).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), from_document(value)));
            serde_json::Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

/// JSON as the value of a document. `None` for an integer beyond 64 bits with sign.
pub(crate) fn to_document(value: &serde_json::Value) -> Option<Value> {
    Some(match value {
        serde_json::Value::Null => Value::NULL,
        serde_json::Value::Bool(b) => Value::Scalar(Scalar::Bool(*b)),
        serde_json::Value::Number(number) => Value::Scalar(match number.as_i64() {
            Some(int) => Scalar::Int(int),
            None if number.is_u64() => return None,
            None => Scalar::Float(Float::new(number.as_f64()?)?),
        }),
        serde_json::Value::String(s) => Value::Scalar(Scalar::String(s.as_str().into())),
        serde_json::Value::Array(items) => {
            Value::Array(items.iter().map(to_document).collect::<Option<_>>()?)
        }
        serde_json::Value::Object(members) => {
            let member =
                |(key, value): (&String, &serde_json::Value)| Some((key.clone(), to_document(value)?));
            Value::Object(members.iter().map(member).collect::<Option<_>>()?)
        }
    })
}

/// A place in a document as an RFC 6901 pointer.
pub(crate) fn pointer(conflict: &cs_crdt::Conflict) -> String {
    conflict.path.to_string()
}
