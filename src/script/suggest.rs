//! "Did you mean".

/// The candidate nearest to `word`, if one is near enough to be a typing error.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean `x`?`, where a candidate is near. The word itself is none.
#[must_use]
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let others = candidates.into_iter().filter(|candidate| *candidate != word);
    nearest(word, others).map(|near| format!("did you mean `{near}`?"))
}

/// `did you mean `x`?`, or a list of what there is.
#[must_use]
pub fn hint<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
    what: &str,
) -> Option<String> {
    let near = did_you_mean(word, candidates.clone());
    if near.is_some() {
        return near;
    }
    let all: Vec<_> = candidates.into_iter().map(|candidate| format!("`{candidate}`")).collect();
    (!all.is_empty() && all.len() <= 16).then(|| format!("{what}: {}", all.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_typing_errors_only() {
        let names = ["nodes", "namespace", "timeout"];
        assert_eq!(nearest("node", names), Some("nodes"));
        assert_eq!(nearest("tiemout", names), Some("timeout"));
        assert_eq!(nearest("image", names), None);
        assert_eq!(hint("x", ["a1", "b2"], "it has").as_deref(), Some("it has: `a1`, `b2`"));
    }
}
