//! Durations as recipes and flags write them, and as people read them.

use std::time::Duration;

/// Units and their length in seconds.
const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86400.0)];

/// Reads `"500ms"`, `"1.5s"`, `"2m"`, `"1m30s"`; the unit must be given.
///
/// # Errors
/// A sentence fragment that says what is wrong with `text`.
pub fn parse(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!("`{text}` is not a duration; write a number and a unit, such as \"500ms\", \"90s\" or \"2m\"")
    };
    let mut seconds = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        let letters =
            rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |n| digits + n);
        let unit = &rest[digits..letters];
        if unit.is_empty() && letters == rest.len() {
            return Err(format!("`{text}` has no unit; did you mean \"{text}s\"?"));
        }
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        seconds += number * length;
        rest = &rest[letters..];
    }
    from_seconds(seconds)
}

/// A number of seconds, 0 or more, at most about a thousand years.
///
/// # Errors
/// A sentence fragment that says what is wrong.
pub fn from_seconds(seconds: f64) -> Result<Duration, String> {
    if (0.0..=3.2e10).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("{seconds} seconds is out of range"))
    }
}

/// `3 ms`, `420 ms`, `1.24 s`, `1 m 07 s`: a duration for people.
#[must_use]
pub fn show(duration: Duration) -> String {
    let ms = duration.as_millis();
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{:.2} s", duration.as_secs_f64()),
        _ => format!("{} m {:02} s", ms / 60_000, ms / 1000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units() {
        for (text, ms) in
            [("500ms", 500), ("2m", 120_000), ("1m30s", 90_000), ("1.5s", 1500), ("1h", 3_600_000)]
        {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_unit_or_sense() {
        assert_eq!(parse("90").unwrap_err(), "`90` has no unit; did you mean \"90s\"?");
        assert!(parse("5 parsecs").unwrap_err().contains("write a number and a unit"));
        for text in ["", "s", "5 parsecs", "-1s", "1.2.3s", "5sec"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(from_seconds(f64::NAN).is_err() && from_seconds(-1.0).is_err());
    }
}
