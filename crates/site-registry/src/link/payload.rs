//! What a notification on the channel `emperor` says. No I/O.
//!
//! `3,17` names rows to read again, `*` means all, `probe 81…` is an emperor that tries whether it
//! hears itself. Anything else is of a newer schema or of a person at a prompt: reading everything
//! is right then too.
//!
//! On the channel `emperor_purges` a notification says that there are purges to read, and no more.

/// The channel.
pub(crate) const CHANNEL: &str = "emperor";
/// The channel that tells of purges.
pub(crate) const PURGES: &str = "emperor_purges";

/// One parsed notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Payload {
    /// Read these rows.
    Ids(Vec<i64>),
    /// Read all rows.
    Everything,
    /// A probe with its nonce.
    Probe(u64),
    /// Read the purges that are new.
    Purges,
}

impl Payload {
    pub(crate) fn parse(text: &str) -> Self {
        if let Some(nonce) = text.strip_prefix("probe ") {
            return nonce.parse().map_or(Self::Everything, Self::Probe);
        }
        let ids = text.split(',').map(str::parse).collect::<Result<_, _>>();
        ids.map_or(Self::Everything, Self::Ids)
    }

    /// The text of a probe.
    pub(crate) fn probe(nonce: u64) -> String {
        format!("probe {nonce}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_understood_means_everything() {
        for text in [
            "",
            "*",
            "1,",
            "x",
            "1,x",
            "probe",
            "probe x",
            "99999999999999999999",
        ] {
            assert_eq!(Payload::parse(text), Payload::Everything, "{text:?}");
        }
        assert_eq!(Payload::parse("3,17"), Payload::Ids(vec![3, 17]));
    }

    proptest! {
        #[test]
        fn ids_survive_the_journey(ids in prop::collection::vec(any::<i64>(), 1..50)) {
            let texts: Vec<_> = ids.iter().map(ToString::to_string).collect();
            prop_assert_eq!(Payload::parse(&texts.join(",")), Payload::Ids(ids));
        }

        #[test]
        fn probes_survive_the_journey(nonce in any::<u64>()) {
            prop_assert_eq!(Payload::parse(&Payload::probe(nonce)), Payload::Probe(nonce));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            let _ = Payload::parse(&text);
        }
    }
}
