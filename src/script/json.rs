//! Values between scripts and JSON.

use rhai::{Array, Dynamic, Map};
use serde_json::Value;

/// A script's value as JSON. What JSON has no form for becomes text.
#[must_use]
pub fn to_json(value: &Dynamic) -> Value {
    if value.is_unit() {
        Value::Null
    } else if let Ok(flag) = value.as_bool() {
        flag.into()
    } else if let Ok(number) = value.as_int() {
        number.into()
    } else if let Ok(number) = value.as_float() {
        number.into()
    } else if let Some(items) = value.read_lock::<Array>() {
        items.iter().map(to_json).collect()
    } else if let Some(fields) = value.read_lock::<Map>() {
        fields.iter().map(|(key, value)| (key.to_string(), to_json(value))).collect()
    } else {
        value.to_string().into()
    }
}

/// JSON as a script's value. Numbers too large for an int become floats.
pub fn from_json(value: &Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(flag) => (*flag).into(),
        Value::String(text) => text.clone().into(),
        Value::Array(items) => items.iter().map(from_json).collect::<Array>().into(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.as_str().into(), from_json(value))).collect::<Map>().into()
        }
        Value::Number(number) => match number.as_i64() {
            Some(number) => number.into(),
            None => number.as_f64().unwrap_or_default().into(),
        },
    }
}
