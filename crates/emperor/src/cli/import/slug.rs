//! A slug out of a file's name.

use site_model::Slug;

/// The most characters of a DNS label.
const LENGTH: usize = 63;

/// The nearest slug; `None`: nothing of the name can be in one.
pub(super) fn from_name(name: &str) -> Option<Slug> {
    let mut slug = String::new();
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if slug.len() < LENGTH && !(c == '-' && (slug.is_empty() || slug.ends_with('-'))) {
            slug.push(c);
        }
    }
    slug.trim_end_matches('-').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_the_nearest_dns_label() {
        let check = |name: &str, expected: &str| {
            let slug = from_name(name).map(|slug| slug.to_string());
            assert_eq!(slug.unwrap_or_default(), expected, "{name:?}");
        };
        check("wiki", "wiki");
        check("www.Example_com", "www-example-com");
        check("-a--b-", "a-b");
        check("7f3c", "7f3c");
        check("é", "");
        check(&"a-".repeat(60), &"a-".repeat(60)[..63]);
    }
}
