//! A row's `extra_config`: any text is taken or refused with its place, and whatever it says, the
//! program and the number of its arguments stay the template's.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use site_model::SiteId;
use vassal_core::Catalog;
use vassal_core::overlay::{SiteTables, check_row, row_source};

const TEMPLATE: &str = r#"
command = ["/usr/bin/worker", "--name={{ site.slug }}", "{{ vars.a }}", "{{ files['w.ini'] }}"]
[vars]
a = "first"
b = 1
c = ["x", "y"]
[env]
A = "{{ vars.a }}"
[files]
"w.ini" = "[worker]\na = {{ vars.a }}\nb = {{ vars.b }}\n"
"#;

/// The lines of the rendered file: a value can't begin another setting.
const FILE_LINES: usize = 3;

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let catalog = fuzz::catalog(TEMPLATE).expect("it is a catalog");
    let plain = fuzz::check_site(&catalog, &fuzz::site(""));
    assert!(
        plain.is_some(),
        "the template is wrong, and every overlay would be refused"
    );
    catalog
});

fuzz_target!(|text: &str| {
    let id = SiteId::new(7).expect("it is positive");
    if let Err(found) = check_row(&row_source(id, text), &SiteTables::default()) {
        assert!(!found.is_empty() && !found.to_string().is_empty());
    }
    if let Some(launch) = fuzz::check_site(&CATALOG, &fuzz::site(text)) {
        assert_eq!(launch.argv.len(), 4);
        assert_eq!(launch.argv[..2], ["/usr/bin/worker", "--name=seven"]);
        assert_eq!(launch.files[0].text.lines().count(), FILE_LINES);
    }
});
