//! Whether a text gives a secret away, found out by undoing what programs do to
//! texts, and not in the way recipe does it.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};

/// All that a text may stand for.
pub struct Readings(Vec<String>);

impl Readings {
    pub fn of(text: &str) -> Self {
        let joined: String = text.lines().map(str::trim).collect();
        let mut texts = Vec::new();
        for text in [text, joined.as_str()] {
            let pluses = text.replace('+', " ");
            texts.extend([text.into(), percents(text), backslashes(text), percents(&pluses)]);
        }
        texts.sort();
        texts.dedup();
        let decoded: Vec<_> = texts.iter().flat_map(|text| encoded(text)).collect();
        let all = texts.into_iter().chain(decoded);
        Self(all.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect())
    }

    /// Whether one of them gives `secret` away.
    pub fn reveal(&self, secret: &str) -> bool {
        let quoted = secret.replace('\'', "''");
        self.0.iter().any(|text| text.contains(secret) || text.contains(&quoted))
    }
}

/// What runs of digits of base64 and hex stand for, wherever they begin.
fn encoded(text: &[u8]) -> impl Iterator<Item = Vec<u8>> + use<> {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    let lax =
        NO_PAD.with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lax);
    let runs: Vec<Vec<u8>> = text
        .split(|byte| !is_digit(byte))
        .filter(|run| run.len() >= 8)
        .map(|run| run.iter().filter(|byte| **byte != b'=').copied().collect())
        .collect();
    runs.into_iter().flat_map(move |run: Vec<u8>| {
        let standard = |byte: &u8| match byte {
            b'-' => b'+',
            b'_' => b'/',
            byte => *byte,
        };
        let standard: Vec<u8> = run.iter().map(standard).collect();
        let mut decoded: Vec<Vec<u8>> = (0..4.min(standard.len()))
            .filter_map(|from| {
                let run = &standard[from..];
                engine.decode(&run[..run.len() - usize::from(run.len() % 4 == 1)]).ok()
            })
            .collect();
        decoded.extend((0..2).map(|from| hex(&run[from..])));
        decoded
    })
}

fn hex(run: &[u8]) -> Vec<u8> {
    let code = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    // What is no digit ends nothing: the secret may come after it.
    run.chunks_exact(2).map(|pair| code(pair).unwrap_or_default()).collect()
}

fn percents(text: &str) -> Vec<u8> {
    let (mut bytes, text) = (Vec::new(), text.as_bytes());
    let mut at = 0;
    while at < text.len() {
        let code = text.get(at + 1..at + 3).filter(|_| text[at] == b'%');
        let code = code.and_then(|code| u8::from_str_radix(std::str::from_utf8(code).ok()?, 16).ok());
        bytes.push(code.unwrap_or(text[at]));
        at += if code.is_some() { 3 } else { 1 };
    }
    bytes
}

/// `\n`, `\"`, `\\`, `\xe9`, `\u00e9`.
fn backslashes(text: &str) -> Vec<u8> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(sign) = rest.chars().next() else { break };
        let digits = match sign {
            'x' => rest.get(1..3),
            'u' => rest.get(1..5),
            _ => None,
        };
        let code = digits
            .and_then(|digits| Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, digits.len())));
        let (char, length) = code.map_or((sign, sign.len_utf8()), |(char, digits)| (char, 1 + digits));
        out.push(char);
        rest = &rest[length..];
    }
    out.push_str(rest);
    out.into_bytes()
}

#[test]
fn it_is_not_fooled() {
    let secret = "C4nary \"x\" é";
    for text in [
        "C4nary \"x\" é",
        "a C4nary \"x\n\" é",
        "C4nary%20%22x%22%20%c3%a9",
        "C4nary+%22x%22+%C3%A9",
        r#"{"a":"C4nary \"x\" \u00e9"}"#,
        r"'C4nary \x22x\x22 \xe9'",
        "x: QzRuYXJ5ICJ4IiDDqQ==",
        "dXNlcjpDNG5hcnkgIngiIMOp",
        "YXVzZXI6QzRuYXJ5ICJ4I\niDDqQ==",
        "0043346e61727920227822 20c3a9".replace(' ', "").as_str(),
    ] {
        assert!(Readings::of(text).reveal(secret), "{text}");
    }
    assert!(!Readings::of("C4nary, \"x\", é: *** QzRuYXJ5").reveal(secret));
}
