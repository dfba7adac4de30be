//! Values as far as a text tells them before it runs.

use std::collections::BTreeMap;

use serde_json::Value as Json;

/// A value that may be known in parts.
#[derive(Debug, Clone, PartialEq)]
pub enum Known {
    /// All of it.
    Value(Json),
    /// An array, whose items may be known.
    List(Vec<Known>),
    /// A map, whose values may be known.
    Map(BTreeMap<String, Known>),
    /// Only a run knows.
    Unknown,
}

impl Known {
    /// The text that it is.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Value(value) => value.as_str(),
            _ => None,
        }
    }

    /// The port that it is.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Value(value) => value.as_u64().and_then(|number| number.try_into().ok()),
            _ => None,
        }
    }

    /// The values of the map that it is.
    #[must_use]
    pub fn fields(&self) -> Option<&BTreeMap<String, Known>> {
        match self {
            Self::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// Whether nothing of it is left to a run.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Value(_) => true,
            Self::List(items) => items.iter().all(Self::is_whole),
            Self::Map(fields) => fields.values().all(Self::is_whole),
            Self::Unknown => false,
        }
    }
}

impl<T: Into<Json>> From<T> for Known {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}
