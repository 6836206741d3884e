//! Template files: any text is taken or refused with its place, and what is taken resolves to the
//! same thing every time.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vassal_core::{Source, template};

fuzz_target!(|text: &str| {
    if let Err(found) = template::check(&Source::new("subject.toml", text)) {
        assert!(!found.is_empty() && !found.to_string().is_empty());
    }
    if let Some(catalog) = fuzz::catalog(text) {
        fuzz::check_site(&catalog, &fuzz::site(""));
        fuzz::check_site(
            &catalog,
            &fuzz::site("[vars]\na = \"b\"\n[env]\nC = \"d\"\n"),
        );
    }
});
