//! Which known name may have been meant.

/// The known name that is written most like `name`, if one is at all.
///
/// A third of the letters may differ, and one in short names, so that `workes` finds `workers` and
/// `path` doesn't find `host`.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Whoever writes a name of a thousand letters made no slip.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&name, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, candidate)| {
            let letters = name.chars().count().max(candidate.chars().count());
            *distance <= (letters / 3).max(1)
        })
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<&str>) {
        let known = ["workers", "path", "min", "max", "gunicorn"];
        assert_eq!(nearest(name, known), expected, "{name:?}");
    }

    #[test]
    fn slips_find_their_name_and_other_words_find_none() {
        check("workes", Some("workers"));
        check("wrokers", Some("workers"));
        check("Workers", Some("workers"));
        check("gunicron", Some("gunicorn"));
        check("mni", Some("min"));
        check("both", None);
        check("colour", None);
        check("", None);
        check(&"w".repeat(1000), None);
    }
}
