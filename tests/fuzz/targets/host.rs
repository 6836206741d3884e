//! Hosts as a client or a row writes them: what is taken is normalised once and for all, and a
//! request for a host finds what a row with the same host meant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use site_model::{HostPattern, Hostname};

fuzz_target!(|text: &str| {
    if let Ok(host) = Hostname::parse(text) {
        let written = host.as_str();
        assert_eq!(
            Hostname::parse(written).as_ref(),
            Ok(&host),
            "not idempotent"
        );
        assert!(written.len() <= 253);
        assert!(
            !written
                .bytes()
                .any(|byte| byte.is_ascii_uppercase() || byte <= b' ')
        );
        assert!(!written.contains(['/', '\\', '*', '%', '@', '?', '#']));
        for parent in host.parents() {
            assert!(written.ends_with(parent));
        }
    }
    if let Ok(pattern) = HostPattern::parse(text) {
        let written = pattern.to_string();
        assert_eq!(HostPattern::parse(&written), Ok(pattern), "not idempotent");
    }
});
