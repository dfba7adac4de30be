//! Values that must never be shown, and their masking.

use std::sync::{Arc, PoisonError, RwLock};

use super::event::EventKind;
use super::failure::{Failure, Kind};

/// What is shown in place of a secret.
pub const MASK: &str = "***";

/// Shorter values are not masked: they would riddle every text with masks.
const SHORTEST: usize = 6;

/// The run's secrets; cheap to clone, shared.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<Arc<str>>>>);

impl Secrets {
    /// Masks `secret` from now on.
    pub fn add(&self, secret: &str) {
        if secret.len() < SHORTEST {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if !known.iter().any(|k| &**k == secret) {
            // Before those that may be a part of it.
            let at = known.iter().position(|k| k.len() < secret.len()).unwrap_or(known.len());
            known.insert(at, secret.into());
        }
    }

    /// Replaces every known secret in `text`.
    pub fn mask(&self, text: &mut String) {
        for secret in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if text.contains(&**secret) {
                *text = text.replace(&**secret, MASK);
            }
        }
    }

    /// `text` with every known secret replaced.
    #[must_use]
    pub fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        self.mask(&mut text);
        text
    }

    /// `text` with every known secret replaced by as many bytes, for texts in
    /// which places are marked.
    #[must_use]
    pub fn covered(&self, text: &str) -> String {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().fold(text.to_owned(), |text, secret| text.replace(&**secret, &"*".repeat(secret.len())))
    }

    /// Masks strings anywhere in a JSON value.
    pub fn mask_json(&self, value: &mut serde_json::Value) {
        match value {
            serde_json::Value::String(text) => self.mask(text),
            serde_json::Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            serde_json::Value::Object(fields) => fields.values_mut().for_each(|field| self.mask_json(field)),
            _ => {}
        }
    }

    pub(super) fn mask_event(&self, kind: &mut EventKind) {
        match kind {
            EventKind::StepStarted { title: text, .. }
            | EventKind::StepOutput { line: text, .. }
            | EventKind::StepWaiting { what: text, .. }
            | EventKind::ResourceCreated { detail: text, .. }
            | EventKind::StepFinished { error: Some(text), .. }
            | EventKind::RunFinished { error: Some(text), .. }
            | EventKind::Message { text, .. } => self.mask(text),
            EventKind::OutputSet { value, .. } => self.mask_json(value),
            EventKind::TestStarted { command } => command.iter_mut().for_each(|word| self.mask(word)),
            _ => {}
        }
    }
}

/// A random word of `length` letters and digits, for passwords.
///
/// # Errors
/// When the system has no randomness to give.
pub fn random(length: usize) -> Result<String, Failure> {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ab";
    let mut bytes = vec![0_u8; length];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(Kind::Io, format!("the system gives no random numbers: {error}")))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 64)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_secrets_in_text_and_json() {
        let secrets = Secrets::default();
        secrets.add("hunter22");
        secrets.add("abc");
        assert_eq!(secrets.masked("pw=hunter22 abc"), "pw=*** abc");
        secrets.add("hunter22-and-more");
        assert_eq!(secrets.masked("pw=hunter22-and-more"), "pw=***", "no end of it is left");
        assert_eq!(secrets.covered("pw=hunter22 abc"), "pw=******** abc");
        let mut value = serde_json::json!({"url": ["postgres://u:hunter22@h/d"]});
        secrets.mask_json(&mut value);
        assert_eq!(value, serde_json::json!({"url": ["postgres://u:***@h/d"]}));
    }
}
