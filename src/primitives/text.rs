//! Text functions that Rhai has in another form.

use rhai::{Engine, ImmutableString};

/// Registers them in place of Rhai's.
pub(super) fn register(engine: &mut Engine) {
    // Rhai's own changes the variable and returns nothing, so that
    // `sh("uname").stdout.trim()` would be `()`.
    engine.register_fn("trim", |text: &mut ImmutableString| {
        *text = text.trim().into();
        text.clone()
    });
}
