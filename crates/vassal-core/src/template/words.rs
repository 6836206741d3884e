//! Settings whose values are words.

use site_model::Protocol;

use crate::settings::{CacheMode, ListenMode, StopSignal, Syscalls};

/// A setting whose value is one of a few words.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// Every word and what it means.
    const WORDS: &'static [(&'static str, Self)];

    /// What a word means.
    fn from_word(text: &str) -> Option<Self> {
        let mut words = Self::WORDS.iter();
        words
            .find(|(word, _)| *word == text)
            .map(|(_, value)| *value)
    }

    /// The word for it.
    fn word(self) -> Option<&'static str> {
        let mut words = Self::WORDS.iter();
        words
            .find(|(_, value)| *value == self)
            .map(|(word, _)| *word)
    }

    /// The words alone.
    fn words() -> Vec<&'static str> {
        Self::WORDS.iter().map(|(word, _)| *word).collect()
    }
}

/// `ready.probe`, before path and status are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ProbeKind {
    #[default]
    Http,
    Notify,
    Connect,
}

impl Word for ProbeKind {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("http", Self::Http),
        ("notify", Self::Notify),
        ("connect", Self::Connect),
    ];
}

impl Word for Protocol {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("http", Self::Http),
        ("uwsgi", Self::Uwsgi),
        ("fastcgi", Self::Fastcgi),
        ("scgi", Self::Scgi),
    ];
}

impl Word for ListenMode {
    const WORDS: &'static [(&'static str, Self)] = &[("fd", Self::Fd), ("path", Self::Path)];
}

impl Word for StopSignal {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("SIGTERM", Self::Term),
        ("SIGINT", Self::Int),
        ("SIGQUIT", Self::Quit),
        ("SIGHUP", Self::Hup),
        ("SIGUSR1", Self::Usr1),
        ("SIGUSR2", Self::Usr2),
    ];
}

impl Word for Syscalls {
    const WORDS: &'static [(&'static str, Self)] =
        &[("service", Self::Service), ("off", Self::Off)];
}

impl Word for CacheMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("http", Self::Http),
        ("until-purged", Self::UntilPurged),
    ];
}
