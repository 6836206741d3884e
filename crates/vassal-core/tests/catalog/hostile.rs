//! Texts that mean harm, or nothing.

use proptest::prelude::*;
use vassal_core::overlay::{SiteTables, check_row, row_source};
use vassal_core::template::check;
use vassal_core::{Catalog, Source};

use crate::support::{APP, input, rejection, resolve};

#[test]
fn a_loop_without_end_in_sight_is_stopped() {
    let endless = "command = ['x', '{% for a in range(9999) %}{% for b in range(9999) %}\
                   {% endfor %}{% endfor %}']";
    assert!(rejection(endless, "").contains("takes too long"));
}

#[test]
fn more_than_a_kernel_takes_is_refused() {
    let long = "command = ['x', '{{ \"x\" * 200000 }}']";
    assert!(rejection(long, "").contains("too long"));
    let long_file = "command = ['x']\nfiles.f = '{{ \"x\" * 2000000 }}'";
    assert!(rejection(long_file, "").contains("too long"));
    let long_row = format!("env.A = '{}'", "x".repeat(200_000));
    assert!(rejection(APP, &long_row).contains("longer than 128 KiB"));
    let longer_row = format!("env.A = '{}'", "x".repeat(300_000));
    assert!(rejection(APP, &longer_row).contains("at most 262144"));
    assert!(resolve(APP, &format!("env.A = '{}'", "x".repeat(100_000))).is_ok());
}

#[test]
fn a_mistake_in_a_long_text_is_told_in_a_few_words() {
    let rows = [
        format!("{} = 1", "x".repeat(200_000)),
        format!("ready.status = '{}'", "x".repeat(200_000)),
        "a = 1\n".repeat(40_000),
        (0..20_000)
            .map(|key| format!("x{key} = 1\n"))
            .collect::<Vec<_>>()
            .concat(),
        format!("env.A = [{}]", "1,".repeat(100_000)),
        format!("env.A = '''{}", "\n".repeat(200_000)),
        format!("vars.args = ['''{}''']", "\n".repeat(200_000)),
    ];
    for row in rows {
        let refused = rejection(APP, &row);
        let (bytes, start) = (refused.len(), &row[..20]);
        assert!(bytes < 10_000, "{bytes} bytes about {start:?}");
    }
}

#[test]
fn deep_nesting_overflows_no_stack() {
    for depth in [50, 1_000, 50_000] {
        let arrays = format!("env.A = {}", "[".repeat(depth));
        assert!(resolve(APP, &arrays).is_err());
        let tables = format!("env{} = 1", ".a".repeat(depth));
        assert!(resolve(APP, &tables).is_err());
        let braces = format!("command = ['{{{{ {} }}}}']", "(".repeat(depth));
        assert!(resolve(&braces, "").is_err());
    }
}

/// Pieces of texts that come close to being right.
fn fragment() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "[vars]\n",
        "[env]\n",
        "[ready]\n",
        "[files]\n",
        "[vars.x]\n",
        "command",
        "timeout",
        "path",
        "vars.",
        "env.",
        "a",
        "x",
        ".",
        " = ",
        "=",
        "\n",
        "'",
        "\"",
        "\"\"\"",
        "'''",
        "[",
        "]",
        "{",
        "}",
        ",",
        "1",
        "-1",
        "1e9",
        "'30s'",
        "'1MiB'",
        "true",
        "'{{ site.slug }}'",
        "'{{ vars.x }}'",
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "for a in site.hosts",
        "endfor",
        "if 1",
        "endif",
        "['x', '{{ vars.x }}']",
        "{ default = 1 }",
        "{ required = true }",
        "\\u0000",
        "é",
        "#",
    ]);
    prop_oneof![9 => known.prop_map(str::to_owned), 1 => "\\PC{0,5}"]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(fragment(), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_template_panics(text in text()) {
        let source = Source::new("t", text.clone());
        if let Err(found) = check(&source) {
            let coloured = found.to_string().contains('\u{1b}');
            prop_assert!(!coloured, "{found}");
        }
        let _ = Catalog::new(input(&text));
        let _ = Catalog::new(input(&format!("command = ['{{{{ vars.x }}}}']\n{text}")));
    }

    #[test]
    fn no_row_panics(text in text()) {
        let source = row_source(site_model::SiteId::new(1).unwrap(), &text);
        let alone = check_row(&source, &SiteTables::default());
        let resolved = resolve(APP, &text);
        // What is wrong by itself is wrong with a template too.
        prop_assert!(alone.is_ok() || resolved.is_err());
    }

    #[test]
    fn no_bytes_at_all_panic(text in "\\PC{0,200}") {
        let _ = check(&Source::new("t", text.clone()));
        let _ = resolve(APP, &text);
    }
}
