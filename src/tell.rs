//! Telling people, on standard error.

/// Writes a line to standard error, as `eprintln!` does. Where it cannot be
/// written, as into a file on a full disk, the work goes on without it.
macro_rules! tell {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(anstream::stderr(), $($text)*);
    }};
}

pub(crate) use tell;
