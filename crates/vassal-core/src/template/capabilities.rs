//! The capabilities of the kernel, by their names in `capabilities(7)`.

use super::kind::Written;
use crate::diagnostic::{Diagnostic, nearest};
use crate::settings::Capabilities;

/// Every one, at the place of its number.
const NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// A list of names, or `["all"]`.
pub(super) fn read(written: &Written<'_>) -> Result<Capabilities, Diagnostic> {
    let items = written.list("a list of capabilities")?;
    items
        .iter()
        .try_fold(Capabilities::default(), |set, item| Ok(set.and(one(item)?)))
}

fn one(written: &Written<'_>) -> Result<Capabilities, Diagnostic> {
    let text = written.text("a string")?;
    if text == "all" {
        return Ok(Capabilities::ALL);
    }
    let known = NAMES.iter().zip(0..);
    let number = known.into_iter().find(|(name, _)| **name == text);
    number
        .map(|(_, number)| Capabilities::one(number))
        .ok_or_else(|| {
            let title = format!("`{}` is no capability", text.escape_debug());
            let label = nearest(&text.to_uppercase(), NAMES)
                .map(|near| format!("did you mean `{near}`?"))
                .unwrap_or_default();
            written.wrong(title).with_label(label)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_at_their_numbers() {
        // Numbers as <linux/capability.h> has them: they are the kernel's interface.
        for (number, name) in [
            (0, "CAP_CHOWN"),
            (10, "CAP_NET_BIND_SERVICE"),
            (21, "CAP_SYS_ADMIN"),
            (31, "CAP_SETFCAP"),
            (40, "CAP_CHECKPOINT_RESTORE"),
        ] {
            assert_eq!(NAMES[number], name);
        }
    }
}
